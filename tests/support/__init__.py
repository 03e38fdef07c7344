"""Support code of the tests: servers, data and helpers that are no tests."""
