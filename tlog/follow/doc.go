// Package follow is the client of sigbox.tlog.v1.Logs.Follow, for monitors and mirrors: it gets every
// entry of a log once, in order, and believes nothing that it has not verified.
//
//	state := follow.State{}                 // or what was saved last, or follow.From(index)
//	err := follow.Run(ctx, follow.Config{
//		Client: tlogpb.NewLogsClient(conn), Log: "rekor-v1", Verifier: verifier,
//		Save: func(ctx context.Context, b follow.Batch) error {
//			// one transaction: the entries, and the state after them
//		},
//	}, state)
//
// Before Save sees a batch, the checkpoint that came with it is signed by the log's key for the log's
// origin; it extends the checkpoint before it; and the root over all leaves so far, which is computed
// here, is that of a prefix of the checkpoint's tree. So a server can withhold entries, and say that a
// log is frozen which is not; it cannot skip, repeat or change one. Anything else it tries is a
// [Refusal], which carries the checkpoints as evidence.
//
// "Once" is a property of the caller's transaction: Save keeps entries and state together, and after a
// crash Run is given the state that was kept. Run keeps nothing itself. It connects again for ever,
// unless it is told to end, the server refuses the request for good, or the server has forgotten for
// [Config.Patience] what it once proved.
//
// It lives here and not in proto/, which holds nothing but generated code, and imports no other package
// of the log than the formats: programs that follow a log need not link one.
package follow
