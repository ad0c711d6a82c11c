"""The canary: reacts now and then, and times how long each cluster takes to show it."""
