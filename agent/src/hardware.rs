//! What the machine is and how busy it was: facts once, samples once a second, windows over samples.
//!
//! The parts: [`proc_files`] reads the kernel's text files, [`facts`] describes the machine, [`nvml`]
//! asks the GPU driver, [`evidence`] hands figures to the judge, [`sampler`] collects on its own thread, [`window`] turns samples into
//! shares. A figure that the machine does not give is absent everywhere, never zero.

pub mod evidence;
pub mod facts;
pub mod nvml;
pub mod proc_files;
pub mod sampler;
pub mod window;
