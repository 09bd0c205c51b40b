// Package filelock lets one process at a time use a directory.
//
// The lock is flock(2) on a file that stays where it is. It ends with the process, however that
// ends, so there is never a stale one to remove. It does not reach across machines.
package filelock
