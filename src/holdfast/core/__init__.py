"""The method contract; knows no method."""
