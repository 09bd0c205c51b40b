// Package freeport finds ports of loopback for servers that tests start, and start again.
package freeport
