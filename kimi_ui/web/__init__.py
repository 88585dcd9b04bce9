"""HTTP: the guard, the login, the routes and the event stream."""
