"""The command line: what the user types to what the other rooms do, and errors to text and exit statuses."""
