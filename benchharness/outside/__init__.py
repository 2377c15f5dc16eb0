"""What comes from outside: users' code is contained, and text is escaped for each format."""
