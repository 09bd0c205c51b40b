// Package stack wires the services of one instance into one HTTP handler and runs them.
//
// It holds no logic of its own: every decision belongs to a service. Create makes what a new
// instance needs (keys, chains, logs, TUF metadata) and Open builds the running services from it;
// both work on a data directory (package instance).
package stack
