"""Running the platform: the instance, the web servers, the demo."""
