"""Plugs for programs that nybble does not need: each file is for one of them, and nothing else imports it."""
