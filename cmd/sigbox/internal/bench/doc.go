// Package bench loads an API of a Sigstore service and says how fast it answered, and whether what
// it answered is true.
//
// A run has four parts, and only the third is timed:
//
//  1. Every request is prepared, signatures included. All randomness comes from a seed, so that a run
//     can be repeated request for request.
//  2. A few requests are sent and their answers checked, so that a wrong URL or key is found before
//     anything is measured, and connections and caches are warm.
//  3. The clients send the rest, each its next one as soon as it has the whole answer to the last.
//     They decode the answers, as any client must, and look no further: on a machine that runs the
//     server too, checking would take the processor that is being measured.
//  4. Every answer is checked as a client would: promise, inclusion proof, checkpoint, and that the
//     entry is the one that was sent. No place in a log may be given twice, and no two checkpoints
//     may contradict each other.
//
// A latency runs from before a request is written until its answer has been read, and covers the
// requests that were answered with success. Percentiles are by nearest rank. The throughput counts
// right answers only. Answers are kept in memory: some 4 KB for each entry.
package bench
