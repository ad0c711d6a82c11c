"""The web page: plain HTML, CSS and ES modules without a build step. The registry serves the files of this folder."""
