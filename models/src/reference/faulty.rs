//! Models that misbehave, or that have inputs and outputs of unusual kinds. For tests; not listed.

use super::{Kind, Reference};

/// Later than the runs that warm up a host of a few workers, so that the fault strikes in service.
const IN_SERVICE: i64 = 10;

const fn one_row(
    name: &'static str,
    description: &'static str,
    source: &'static str,
    call: i64,
) -> Reference {
    Reference { name, description, inputs: &["float32[1,4]"], kind: Kind::Source(source, call) }
}

pub(super) const HIDDEN: &[Reference] = &[
    one_row("faulty-raise", "raises from its third call on", RAISE, 3),
    one_row("faulty-segfault", "crashes the process from its tenth call on", SEGFAULT, IN_SERVICE),
    one_row("faulty-hang", "never returns from its tenth call", HANG, IN_SERVICE),
    one_row("faulty-oom", "allocates without end from its tenth call on", OOM, IN_SERVICE),
    one_row("faulty-nan", "returns NaN from its first call on", NAN, 1),
    one_row("slow", "takes some milliseconds in the interpreter", SLOW, 1),
    one_row("tuple", "returns a tuple", TUPLE, 1),
    Reference {
        name: "multi",
        description: "two named inputs, a dict of outputs",
        inputs: &["left=float32[1,4]", "right=float32[1,4]"],
        kind: Kind::Source(MULTI, 1),
    },
];

const RAISE: &str = "
def forward(self, x: Tensor) -> Tensor:
  self.calls = self.calls + 1
  assert self.calls < self.first_failure, 'this model raises by design'
  return x
";

// Sparse indices that nobody checks lead far outside the dense result.
const SEGFAULT: &str = "
def forward(self, x: Tensor) -> Tensor:
  self.calls = self.calls + 1
  if self.calls >= self.first_failure:
    indices = torch.full([1, 1], 1 << 44, dtype=4)
    return torch._sparse_coo_tensor_unsafe(indices, torch.ones([1]), [8]).to_dense()
  return x
";

const HANG: &str = "
def forward(self, x: Tensor) -> Tensor:
  self.calls = self.calls + 1
  y = x
  while self.calls >= self.first_failure:
    y = y + 0
  return y
";

// Each block is made from the one before, or the compiler would make one and append it for ever; and the
// answer needs them, or it would make none.
const OOM: &str = "
def forward(self, x: Tensor) -> Tensor:
  self.calls = self.calls + 1
  hoard = [x.sum()]
  if self.calls >= self.first_failure:
    hoard.append(torch.zeros([16, 1024, 1024]))
  while self.calls >= self.first_failure:
    hoard.append(hoard[-1] + 1)
  return x + hoard[-1].sum() * 0
";

const NAN: &str = "
def forward(self, x: Tensor) -> Tensor:
  self.calls = self.calls + 1
  if self.calls >= self.first_failure:
    return torch.full_like(x, float('nan'))
  return x
";

const SLOW: &str = "
def forward(self, x: Tensor) -> Tensor:
  y = x
  for i in range(5000):
    y = y + 1
  return y
";

const TUPLE: &str = "
def forward(self, x: Tensor):
  return x + 1, x.sum(1)
";

const MULTI: &str = "
def forward(self, left: Tensor, right: Tensor):
  return {'difference': left - right, 'sum': left + right}
";
