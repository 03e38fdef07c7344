"""The API's documentation pages: a guide with examples, and a reference."""
