// Package clock is the time source that every other package is handed.
//
// Code that decides by time takes a [Clock] instead of calling time.Now, so that a test can say
// what time it is. Timers are not part of it: tests of timers run under testing/synctest.
package clock
