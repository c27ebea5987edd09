//! The tracer, the gate, the channel and the recording, as the rooms use them.

mod channel;
mod gate;
mod recording;
mod support;
mod tracer;
