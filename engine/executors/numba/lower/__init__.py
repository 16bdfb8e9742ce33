"""From operations of a plan to steps: kernel calls with their memory."""
