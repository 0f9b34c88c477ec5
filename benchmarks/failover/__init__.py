"""What a gateway's callers notice when engines are killed or stand still under them."""
