"""What each cell is: its class, who said so, and how many there are of each."""
