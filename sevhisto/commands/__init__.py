"""Commands that ask what was measured: how far two readings agree, and why a number changed."""
