//! A load curve: measured points made monotone, and what lies between them.

/// A step that was measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Invocations answered per minute.
    pub per_minute: f64,
    /// Busy share of the model's processors.
    pub cpu_pct: f64,
    pub latency_us: f64,
}

/// Where an instance should be held.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OperatingPoint {
    /// Invocations per minute.
    pub per_minute: f64,
    pub latency_us: f64,
}

/// The target lies outside of what was measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OutOfRange {
    pub lowest: Point,
    pub highest: Point,
}

/// Points with ascending rates; utilization and latency never fall.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadCurve(Vec<Point>);

impl LoadCurve {
    /// The curve through these points; `None` without any.
    #[must_use]
    pub fn new(mut points: Vec<Point>) -> Option<Self> {
        points.sort_by(|a, b| a.per_minute.total_cmp(&b.per_minute));
        let cpu = never_falling(points.iter().map(|point| point.cpu_pct));
        let latency = never_falling(points.iter().map(|point| point.latency_us));
        for ((point, cpu_pct), latency_us) in points.iter_mut().zip(cpu).zip(latency) {
            *point = Point { cpu_pct, latency_us, ..*point };
        }
        (!points.is_empty()).then_some(Self(points))
    }

    /// The lowest rate at which the processors are so busy.
    ///
    /// # Errors
    /// [`OutOfRange`] when no two measured points lie around it.
    pub fn at(&self, cpu_pct: f64) -> Result<OperatingPoint, OutOfRange> {
        let (lowest, highest) = (self.0[0], self.0[self.0.len() - 1]);
        let above = self.0.iter().position(|point| point.cpu_pct >= cpu_pct);
        let above = above.filter(|_| cpu_pct >= lowest.cpu_pct);
        let above = above.ok_or(OutOfRange { lowest, highest })?;
        let (low, high) = (self.0[above.saturating_sub(1)], self.0[above]);
        let rise = high.cpu_pct - low.cpu_pct;
        let share = if rise > 0.0 { (cpu_pct - low.cpu_pct) / rise } else { 1.0 };
        let between = |low: f64, high: f64| low + (high - low) * share;
        Ok(OperatingPoint {
            per_minute: between(low.per_minute, high.per_minute),
            latency_us: between(low.latency_us, high.latency_us),
        })
    }
}

/// Isotonic regression by pooling neighbours that are in the wrong order.
fn never_falling(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut pools: Vec<(f64, usize)> = Vec::new();
    for value in values {
        let mut pool = (value, 1);
        while let Some(before) = pools.pop_if(|(mean, _)| *mean > pool.0) {
            let count = before.1 + pool.1;
            let sum = before.0 * before.1 as f64 + pool.0 * pool.1 as f64;
            pool = (sum / count as f64, count);
        }
        pools.push(pool);
    }
    pools.into_iter().flat_map(|(mean, count)| std::iter::repeat_n(mean, count)).collect()
}
