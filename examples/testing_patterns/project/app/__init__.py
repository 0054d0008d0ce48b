"""Teams, their members, and invitations to them: just enough to be tested."""
