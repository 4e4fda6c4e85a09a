"""From questions to trajectories: chats, engines and the loop that drives them."""
