"""What is this project? Facts only: no room in here decides what to do about them."""
