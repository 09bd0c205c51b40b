// Package figures measures sigbox and, in the same run, what upstream has, and writes what it found
// to docs/figures as JSON; docs/benchmarks.md is made from those files.
//
// There are two plans. The one that `make test` runs takes seconds, measures next to nothing and
// writes nothing: it shows that the harness works. `make figures` runs the real one:
//
//	SIGBOX_PROOF=1            the real plan, with upstream's servers
//	SIGBOX_PROOF_DATA=DIR     where large logs are kept, to be used again by the next run
//	SIGBOX_PROOF_SIZES=0,1000000,10000000
//	                          sizes of the logs
//	SIGBOX_PROOF_SPAN=5s      how long one measurement takes
//	SIGBOX_SHARED_BENCH=DIR   load tools that others wrote, for TestAuthority and TestAgrees
//	SIGBOX_FIGURES=DIR        where JSON is written
//
// Everything runs on one machine, the load generator included, on loopback, and every PostgreSQL has
// fsync on. What is compared is run in turns, and of several runs of one thing the median counts.
package figures
