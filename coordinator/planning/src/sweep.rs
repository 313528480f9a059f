//! Which configurations to try on a machine: the user's sweep, or a small automatic grid.
//!
//! Without a sweep of threads, workers × intra-op threads fill the processors: on v of them, 1, 2 and 4
//! threads per worker where that divides v, and one worker with all. A setting that the user lists is
//! tried with every value; the one of workers and threads that was left open is chosen to fill
//! the machine. More threads than processors are tried only where the user asked for both numbers.
//!
//! Left open, the graph is tried as saved and optimized: that makes some models a quarter faster and does
//! not change their outputs, which every trial checks. Precision changes them, so another one than
//! float32 is tried only where the user lists it.
//!
//! What environment variables make of a sweep stands in [`with_environment`].

use std::num::NonZeroU32;

use assay_measure::{
    configuration::{Configuration, Device, Graph, Precision},
    job::Sweep,
};

mod environment;

pub use self::environment::{EnvironmentConflict, EnvironmentSweep, with_environment};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    pub vcpus: NonZeroU32,
    pub cuda_gpus: u32,
}

/// The configurations of a sweep on one machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Those to try, each once.
    pub configurations: Vec<Configuration>,
    /// Those that do not fit, with the reason.
    pub misfits: Vec<(Configuration, String)>,
    /// Those that are tried although they ask for more threads than there are processors.
    pub oversubscribed: Vec<Configuration>,
}

#[derive(Clone, Copy)]
struct Threads {
    workers: NonZeroU32,
    intra_op: NonZeroU32,
    asked_for_both: bool,
}

/// The graphs to try where the user names none.
const GRAPHS: [Graph; 2] = [Graph::Plain, Graph::Optimized];

#[must_use]
pub fn configurations(sweep: &Sweep, room: Room) -> Swept {
    let mut swept = Swept::default();
    for device in devices(sweep, room) {
        for threads in threads(sweep, room, device) {
            for configuration in settings(sweep, device, threads) {
                place(&mut swept, configuration, threads, room);
            }
        }
    }
    swept
}

/// How many configurations a sweep multiplies out to at most, without doing it.
#[must_use]
pub fn upper_bound(sweep: &Sweep) -> usize {
    let automatic_threads = if sweep.defaults_only { 1 } else { 8 };
    let threads = match (sweep.workers.len(), sweep.intra_op_threads.len()) {
        (0, 0) => automatic_threads,
        (workers, intra_op) => workers.max(1).saturating_mul(intra_op.max(1)),
    };
    [
        sweep.max_batch.len(),
        sweep.max_batch_delay_us.len(),
        sweep.device.len(),
        sweep.dtype.len(),
        graphs(sweep).len(),
        sweep.allocator.len(),
    ]
    .into_iter()
    .fold(threads, |product, count| product.saturating_mul(count.max(1)))
}

fn place(swept: &mut Swept, configuration: Configuration, threads: Threads, room: Room) {
    if swept.configurations.contains(&configuration)
        || swept.misfits.iter().any(|(known, _)| *known == configuration)
    {
        return;
    }
    if let Device::Cuda(index) = configuration.device
        && u32::from(index) >= room.cuda_gpus
    {
        let reason =
            format!("needs {}, the machine has {} GPUs", configuration.device, room.cuda_gpus);
        swept.misfits.push((configuration, reason));
        return;
    }
    let asked =
        u64::from(configuration.workers.get()) * u64::from(configuration.intra_op_threads.get());
    if asked > u64::from(room.vcpus.get()) {
        if !threads.asked_for_both {
            let reason = format!("needs {asked} threads, the machine has {} vCPU", room.vcpus);
            swept.misfits.push((configuration, reason));
            return;
        }
        swept.oversubscribed.push(configuration.clone());
    }
    swept.configurations.push(configuration);
}

fn devices(sweep: &Sweep, room: Room) -> Vec<Device> {
    if !sweep.device.is_empty() {
        return sweep.device.clone();
    }
    // A GPU is no promise that the host finds the CUDA libraries, so the processors are tried as well.
    match (room.cuda_gpus > 0, sweep.defaults_only) {
        (true, true) => vec![Device::Cuda(0)],
        (true, false) => vec![Device::Cuda(0), Device::Cpu],
        (false, _) => vec![Device::Cpu],
    }
}

fn graphs(sweep: &Sweep) -> &[Graph] {
    match (sweep.graph.is_empty(), sweep.defaults_only) {
        (true, true) => &GRAPHS[..1],
        (true, false) => &GRAPHS,
        (false, _) => &sweep.graph,
    }
}

fn threads(sweep: &Sweep, room: Room, device: Device) -> Vec<Threads> {
    let (workers, intra_op) = (&sweep.workers, &sweep.intra_op_threads);
    let one_each = |workers, intra_op| Threads { workers, intra_op, asked_for_both: false };
    let filling = |given: NonZeroU32| match device {
        Device::Cpu => NonZeroU32::new(room.vcpus.get() / given.get()).unwrap_or(NonZeroU32::MIN),
        // On a GPU the processors only feed it: one thread is enough.
        Device::Cuda(_) => NonZeroU32::MIN,
    };
    match (workers.is_empty(), intra_op.is_empty()) {
        (true, true) => {
            // Sorted by workers: the first is one worker with all threads, what libtorch does by itself.
            let most = if sweep.defaults_only { 1 } else { usize::MAX };
            let grid = automatic(room, device).into_iter().take(most);
            grid.map(|(w, t)| one_each(w, t)).collect()
        }
        (false, true) => workers.iter().map(|&w| one_each(w, filling(w))).collect(),
        (true, false) => intra_op.iter().map(|&t| one_each(filling(t), t)).collect(),
        (false, false) => workers
            .iter()
            .flat_map(|&workers| {
                intra_op.iter().map(move |&intra_op| Threads {
                    workers,
                    intra_op,
                    asked_for_both: true,
                })
            })
            .collect(),
    }
}

fn automatic(room: Room, device: Device) -> Vec<(NonZeroU32, NonZeroU32)> {
    let vcpus = room.vcpus.get();
    let pair = |workers, intra_op| NonZeroU32::new(workers).zip(NonZeroU32::new(intra_op));
    let mut pairs: Vec<_> = match device {
        Device::Cpu => [vcpus, 4, 2, 1]
            .into_iter()
            .filter(|threads| vcpus.is_multiple_of(*threads))
            .filter_map(|threads| pair(vcpus / threads, threads))
            .collect(),
        Device::Cuda(_) => [1, 2, 4]
            .into_iter()
            .filter(|workers| *workers <= vcpus)
            .filter_map(|workers| pair(workers, 1))
            .collect(),
    };
    pairs.sort_unstable();
    pairs.dedup();
    pairs
}

fn settings(sweep: &Sweep, device: Device, threads: Threads) -> Vec<Configuration> {
    let mut base = Configuration::cpu(threads.workers, threads.intra_op);
    base.device = device;
    let mut all = vec![base];
    all = varied(all, &sweep.max_batch, |configuration, value| configuration.max_batch = value);
    all = varied(all, &sweep.max_batch_delay_us, |configuration, value| {
        // Waiting for a batch of one means nothing; the same configuration must not be tried twice.
        configuration.max_batch_delay_us =
            if configuration.max_batch == NonZeroU32::MIN { 0 } else { value };
    });
    all = varied(all, &sweep.dtype, |configuration, value: Precision| configuration.dtype = value);
    all = varied(all, graphs(sweep), |configuration, value| configuration.graph = value);
    varied(all, &sweep.allocator, |configuration, value| configuration.allocator = value)
}

fn varied<T: Copy>(
    all: Vec<Configuration>,
    values: &[T],
    set: impl Fn(&mut Configuration, T),
) -> Vec<Configuration> {
    if values.is_empty() {
        return all;
    }
    let with = |configuration: &Configuration, value: &T| {
        let mut configuration = configuration.clone();
        set(&mut configuration, *value);
        configuration
    };
    all.iter()
        .flat_map(|configuration| {
            values.iter().map(|value| with(configuration, value)).collect::<Vec<_>>()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(vcpus: u32) -> Room {
        Room { vcpus: NonZeroU32::new(vcpus).unwrap(), cuda_gpus: 0 }
    }

    fn sweep(texts: &[&str]) -> Sweep {
        let mut sweep = Sweep::default();
        for text in texts {
            sweep.add(text).unwrap();
        }
        if sweep.graph.is_empty() {
            // Threads and batches are seen better without every line twice.
            sweep.graph.push(Graph::Plain);
        }
        sweep
    }

    fn shown(configurations: &[Configuration]) -> Vec<String> {
        configurations.iter().map(Configuration::to_string).collect()
    }

    #[test]
    fn the_automatic_grid_fills_the_processors_with_at_most_four_combinations() {
        let grid = |vcpus| shown(&configurations(&sweep(&[]), room(vcpus)).configurations);
        assert_eq!(grid(1), ["workers=1 intra-op=1"]);
        assert_eq!(grid(2), ["workers=1 intra-op=2", "workers=2 intra-op=1"]);
        assert_eq!(grid(3), ["workers=1 intra-op=3", "workers=3 intra-op=1"]);
        assert_eq!(
            grid(4),
            ["workers=1 intra-op=4", "workers=2 intra-op=2", "workers=4 intra-op=1"]
        );
        for vcpus in 1..=192 {
            let swept = configurations(&sweep(&[]), room(vcpus));
            assert!((1..=4).contains(&swept.configurations.len()), "{vcpus}");
            for configuration in swept.configurations {
                assert_eq!(
                    configuration.workers.get() * configuration.intra_op_threads.get(),
                    vcpus
                );
            }
        }
    }

    #[test]
    fn a_setting_left_open_fills_the_machine() {
        let swept = configurations(&sweep(&["workers=1,2"]), room(4));
        assert_eq!(shown(&swept.configurations), ["workers=1 intra-op=4", "workers=2 intra-op=2"]);
        let swept = configurations(&sweep(&["intra-op=1"]), room(4));
        assert_eq!(shown(&swept.configurations), ["workers=4 intra-op=1"]);
    }

    #[test]
    fn more_threads_than_processors_are_tried_only_when_both_numbers_were_asked_for() {
        let swept = configurations(&sweep(&["workers=1,4"]), room(2));
        assert_eq!(shown(&swept.configurations), ["workers=1 intra-op=2"]);
        assert_eq!(swept.misfits[0].1, "needs 4 threads, the machine has 2 vCPU");
        let swept = configurations(&sweep(&["workers=1,4", "intra-op=1"]), room(2));
        assert_eq!(shown(&swept.configurations), ["workers=1 intra-op=1", "workers=4 intra-op=1"]);
        assert_eq!(shown(&swept.oversubscribed), ["workers=4 intra-op=1"]);
    }

    #[test]
    fn settings_multiply_out_without_repeating_a_configuration() {
        let swept = configurations(
            &sweep(&["workers=1", "max-batch=1,8", "max-batch-delay-us=0,500"]),
            room(1),
        );
        assert_eq!(
            shown(&swept.configurations),
            [
                "workers=1 intra-op=1",
                "workers=1 intra-op=1 max-batch=8",
                "workers=1 intra-op=1 max-batch=8 delay=500us"
            ]
        );
        let all =
            sweep(&["graph=plain,optimized", "dtype=float32,bfloat16", "allocator=tuned,default"]);
        assert_eq!(configurations(&all, room(2)).configurations.len(), 16);
        assert!(upper_bound(&all) >= 16);
    }

    #[test]
    fn the_graph_is_tried_both_ways_unless_the_user_names_one() {
        let everything_open = Sweep::default();
        let swept = configurations(&everything_open, room(2));
        assert_eq!(
            shown(&swept.configurations),
            [
                "workers=1 intra-op=2",
                "workers=1 intra-op=2 graph=optimized",
                "workers=2 intra-op=1",
                "workers=2 intra-op=1 graph=optimized"
            ]
        );
        assert!(upper_bound(&everything_open) >= swept.configurations.len());
        assert_eq!(
            shown(&configurations(&sweep(&["graph=optimized"]), room(1)).configurations),
            ["workers=1 intra-op=1 graph=optimized"]
        );
    }

    #[test]
    fn defaults_alone_are_one_configuration_of_all_processors() {
        let defaults = Sweep { defaults_only: true, ..Sweep::default() };
        let swept = configurations(&defaults, room(4));
        assert_eq!(shown(&swept.configurations), ["workers=1 intra-op=4"]);
        let swept = configurations(&defaults, Room { cuda_gpus: 1, ..room(4) });
        assert_eq!(shown(&swept.configurations), ["workers=1 intra-op=1 device=cuda:0"]);
    }

    #[test]
    fn a_gpu_is_used_where_there_is_one_and_refused_where_there_is_none() {
        let gpu = Room { cuda_gpus: 1, ..room(4) };
        let swept = configurations(&sweep(&[]), gpu);
        assert_eq!(shown(&swept.configurations)[0], "workers=1 intra-op=1 device=cuda:0");
        assert!(
            swept.configurations.iter().any(|configuration| configuration.device == Device::Cpu)
        );
        let swept = configurations(&sweep(&["device=cuda:1"]), gpu);
        assert!(swept.configurations.is_empty());
        assert_eq!(swept.misfits[0].1, "needs cuda:1, the machine has 1 GPUs");
    }
}
