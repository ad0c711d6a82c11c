"""The web page: plain HTML, CSS and ES modules without a build step. The registry serves this folder's files."""
