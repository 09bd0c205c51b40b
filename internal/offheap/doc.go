// Package offheap gives memory that the garbage collector does not count. It lets the heap grow to twice
// what is in use before it collects, so that each byte that a process keeps for good takes two; these take
// one.
package offheap
