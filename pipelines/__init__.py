"""Where and how much at once: Ray Data, Ray Train, DeepSpeed. No clinical rule, no formula."""
