//! Walks every edge of the job state machine.
