"""Receipts: what a text was made from, so that anybody can make it again."""
