//! The driver against section 4 of the contract, on a paused clock and without a socket.
//!
//! A [`scene`] is a gather with scripted branches, the [`stage`] writes down what the driver does
//! with them, and the [`model`] says from the contract alone what must come of it. The [`laws`]
//! compare the two on random scenes; the [`examples`] tell each promise once, readably. Times are
//! whole milliseconds since the start.

mod examples;
mod laws;
mod model;
mod scene;
mod stage;
