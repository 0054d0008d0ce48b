"""Plans on MySQL and MariaDB."""
