"""Speculation: tokens are drafted cheaply and run in one step; those that would have come anyway are kept."""
