"""What do all report formats have to say? Reading stored runs, and putting them in words and figures."""
