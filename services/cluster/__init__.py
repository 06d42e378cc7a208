"""Everything on one machine: real servers and processes that can be killed, frozen and restarted."""
