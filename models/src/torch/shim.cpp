#include "shim.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/InferenceMode.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <caffe2/serialize/inline_container.h>
#include <torch/csrc/jit/ir/alias_analysis.h>
#include <torch/csrc/jit/passes/inliner.h>
#include <torch/csrc/jit/frontend/resolver.h>
#include <torch/csrc/jit/frontend/sugared_value.h>
#include <torch/csrc/jit/frontend/tracer.h>
#include <torch/csrc/jit/runtime/print_handler.h>
#include <torch/script.h>
#include <torch/version.h>

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

using torch::jit::IValue;

struct AssayModule {
  torch::jit::Module module;
  std::optional<torch::jit::Method> forward;
  c10::Device device = c10::Device(c10::kCPU);
  std::optional<at::ScalarType> precision;
  bool writes_inputs = false;
};

struct AssayOutputs {
  struct Leaf {
    std::string name;
    at::Tensor tensor;
  };
  std::vector<Leaf> leaves;
};

namespace {

// What a saved module's source may name: the operators of `torch` and those of the interpreter, the clock among them.
struct OperatorsOfTorch final : torch::jit::NativeResolver {
  std::shared_ptr<torch::jit::SugaredValue> resolveValue(const std::string& name, torch::jit::GraphFunction& function,
                                                         const torch::jit::SourceRange& place) override {
    if (name == "prim") return std::make_shared<torch::jit::BuiltinModule>("prim");
    return NativeResolver::resolveValue(name, function, place);
  }
};

char* text(const std::string& message) {
  return strdup(message.c_str());
}

// Runs `body`; whatever it throws becomes a message.
template <typename Body>
char* guarded(Body&& body) {
  try {
    body();
    return nullptr;
  } catch (const c10::Error& error) {
    return text(error.what_without_backtrace());
  } catch (const std::exception& error) {
    return text(error.what());
  } catch (...) {
    return text("an exception of unknown type");
  }
}

// The request does not fit forward(): told apart from a model that raises.
struct Refused : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// What forward() returned has no place in an answer: no other input would help.
struct Unsendable : std::runtime_error {
  using std::runtime_error::runtime_error;
};

std::string quoted(const std::string& value) {
  std::ostringstream out;
  out << '"';
  for (const char c : value) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out << '\\' << c;
    } else if (byte < 0x20) {
      char escape[8];
      snprintf(escape, sizeof escape, "\\u%04x", byte);
      out << escape;
    } else {
      out << c;
    }
  }
  out << '"';
  return out.str();
}

// The type inside Optional[...], or the type itself.
c10::TypePtr unwrapped(const c10::TypePtr& type) {
  if (const auto optional = type->cast<c10::OptionalType>()) {
    return optional->getElementType();
  }
  return type;
}

// What an argument takes: "tensor", "int", "float", "bool", "list" or "dict" of tensors, "other".
const char* argument_kind(const c10::TypePtr& declared) {
  const auto type = unwrapped(declared);
  if (type->isSubtypeOf(*c10::TensorType::get())) return "tensor";
  if (type->kind() == c10::TypeKind::IntType) return "int";
  if (type->kind() == c10::TypeKind::FloatType) return "float";
  if (type->kind() == c10::TypeKind::BoolType) return "bool";
  if (const auto list = type->cast<c10::ListType>()) {
    if (list->getElementType()->isSubtypeOf(*c10::TensorType::get())) return "list";
  }
  if (const auto dict = type->cast<c10::DictType>()) {
    if (dict->getKeyType()->kind() == c10::TypeKind::StringType &&
        dict->getValueType()->isSubtypeOf(*c10::TensorType::get())) {
      return "dict";
    }
  }
  return "other";
}

// Whether forward() may write into the memory of its inputs; then they are copied first.
bool may_write_inputs(const torch::jit::Method& forward) {
  auto graph = forward.graph()->copy();
  torch::jit::Inline(*graph);
  const torch::jit::AliasDb aliases(graph);
  for (size_t i = 1; i < graph->inputs().size(); ++i) {
    if (aliases.hasWriters(graph->inputs()[i])) return true;
  }
  return false;
}

void find_forward(AssayModule& module) {
  module.forward = module.module.find_method("forward");
  module.writes_inputs = module.forward ? may_write_inputs(*module.forward) : true;
}

torch::jit::Method& forward_of(AssayModule& module) {
  if (!module.forward) throw std::runtime_error("the module has no forward()");
  return *module.forward;
}

// Takes the owner out of `input`, so that the caller sees which ones were not reached.
at::Tensor input_tensor(const AssayModule& module, AssayInput& input) {
  const at::IntArrayRef shape(input.shape, static_cast<size_t>(input.rank));
  const auto options = at::TensorOptions().dtype(static_cast<at::ScalarType>(input.scalar_type));
  const std::shared_ptr<void> owner(std::exchange(input.owner, nullptr), assay_release_owner);
  at::Tensor tensor = at::from_blob(input.data, shape, [owner](void*) {}, options);
  if (module.writes_inputs && module.device.is_cpu()) tensor = tensor.clone();
  if (module.precision && at::isFloatingType(tensor.scalar_type())) {
    return tensor.to(module.device, *module.precision);
  }
  return module.device.is_cpu() ? tensor : tensor.to(module.device);
}

IValue argument_value(const c10::Argument& argument, const at::Tensor& tensor) {
  const std::string kind = argument_kind(argument.type());
  if (kind == "tensor") return tensor;
  if (kind == "int" || kind == "float" || kind == "bool") {
    if (tensor.numel() != 1) {
      throw Refused("input \"" + argument.name() + "\" is a single number, got a tensor of " +
                    std::to_string(tensor.numel()) + " elements");
    }
    if (kind == "int") return tensor.item().toLong();
    if (kind == "bool") return tensor.item().toBool();
    return tensor.item().toDouble();
  }
  throw Refused("input \"" + argument.name() + "\" is a " + argument.type()->repr_str() +
                ", which a tensor cannot fill");
}

// Inputs whose name is empty are taken in order; the caller has already ordered named ones. A missing
// one is marked by a rank of -1.
std::vector<IValue> arguments(const AssayModule& module, AssayInput* inputs, size_t count) {
  const auto& schema = module.forward->function().getSchema();
  const auto& declared = schema.arguments();
  std::vector<IValue> stack;
  stack.reserve(declared.size());
  if (declared.size() == 2) {
    const std::string kind = argument_kind(declared[1].type());
    if (kind == "list") {
      c10::List<at::Tensor> list;
      for (size_t i = 0; i < count; ++i) list.push_back(input_tensor(module, inputs[i]));
      stack.emplace_back(std::move(list));
      return stack;
    }
    if (kind == "dict") {
      c10::Dict<std::string, at::Tensor> dict;
      for (size_t i = 0; i < count; ++i) dict.insert(inputs[i].name, input_tensor(module, inputs[i]));
      stack.emplace_back(std::move(dict));
      return stack;
    }
  }
  for (size_t i = 0; i < count; ++i) {
    const auto& argument = declared.at(i + 1);
    if (inputs[i].rank < 0) {
      if (!argument.default_value()) throw Refused("input \"" + argument.name() + "\" is missing");
      stack.push_back(*argument.default_value());
    } else {
      stack.push_back(argument_value(argument, input_tensor(module, inputs[i])));
    }
  }
  return stack;
}

// One output and the way to it: keys of dicts and fields of named tuples, or plain positions.
struct Path {
  std::string keys;
  bool named = false;
};

Path below(const Path& path, const std::string& step, bool named) {
  return {path.keys.empty() ? step : path.keys + "_" + step, path.named || named};
}

void flatten(const IValue& value, const Path& path, std::vector<std::pair<Path, at::Tensor>>& out) {
  if (value.isTensor()) {
    if (value.toTensor().defined()) out.emplace_back(path, value.toTensor());
  } else if (value.isTuple()) {
    const auto& elements = value.toTupleRef().elements();
    const auto type = value.type()->cast<c10::TupleType>();
    const auto schema = type ? type->schema() : nullptr;
    for (size_t i = 0; i < elements.size(); ++i) {
      const bool named = schema && i < schema->arguments().size();
      flatten(elements[i], below(path, named ? schema->arguments()[i].name() : std::to_string(i), named), out);
    }
  } else if (value.isList()) {
    const auto list = value.toList();
    for (size_t i = 0; i < list.size(); ++i) flatten(list.get(i), below(path, std::to_string(i), false), out);
  } else if (value.isGenericDict()) {
    for (const auto& entry : value.toGenericDict()) {
      std::ostringstream key;
      if (entry.key().isString()) {
        key << entry.key().toStringRef();
      } else {
        key << entry.key();
      }
      flatten(entry.value(), below(path, key.str(), true), out);
    }
  } else if (value.isInt()) {
    out.emplace_back(path, at::scalar_tensor(value.toInt(), at::kLong));
  } else if (value.isDouble()) {
    out.emplace_back(path, at::scalar_tensor(value.toDouble(), at::kDouble));
  } else if (value.isBool()) {
    out.emplace_back(path, at::scalar_tensor(value.toBool(), at::kBool));
  } else if (!value.isNone()) {
    throw Unsendable("the model returns a " + value.tagKind() + ", which is not a tensor");
  }
}

// The names of the outputs, no two alike: different ways can join to one name, {"a": {"b": …}, "a_b": …}. The first
// keeps it, and each further one gets a number that no other name has.
std::vector<std::string> distinct_names(const std::vector<std::pair<Path, at::Tensor>>& found) {
  std::vector<std::string> names;
  for (size_t i = 0; i < found.size(); ++i) {
    const auto& path = found[i].first;
    const std::string numbered = found.size() == 1 ? "output" : "output_" + std::to_string(i);
    names.push_back(path.named ? path.keys : numbered);
  }
  std::unordered_set<std::string> known(names.begin(), names.end());
  if (known.size() == names.size()) return names;
  std::unordered_set<std::string> given;
  for (auto& name : names) {
    if (given.insert(name).second) continue;
    std::string other;
    for (size_t number = 2; other.empty() || !known.insert(other).second; ++number) {
      other = name + "_" + std::to_string(number);
    }
    name = std::move(other);
    given.insert(name);
  }
  return names;
}

AssayOutputs* collect(const AssayModule& module, const IValue& value) {
  std::vector<std::pair<Path, at::Tensor>> found;
  flatten(value, {}, found);
  auto names = distinct_names(found);
  auto outputs = std::make_unique<AssayOutputs>();
  for (size_t i = 0; i < found.size(); ++i) {
    auto& tensor = found[i].second;
    if (module.precision && tensor.scalar_type() == *module.precision) tensor = tensor.to(at::kFloat);
    if (tensor.layout() != at::kStrided) tensor = tensor.to_dense();
    if (tensor.is_quantized()) tensor = tensor.dequantize();
    outputs->leaves.push_back({std::move(names[i]), tensor.to(c10::kCPU).resolve_conj().resolve_neg().contiguous()});
  }
  return outputs.release();
}

AssayModule* described(torch::jit::Module module) {
  auto owned = std::make_unique<AssayModule>();
  owned->module = std::move(module);
  owned->module.eval();
  find_forward(*owned);
  return owned.release();
}

// The module that a dotted path names below `root`, made where it does not exist.
torch::jit::Module part_of(torch::jit::Module& root, const std::string& path) {
  torch::jit::Module part = root;
  std::istringstream steps(path);
  std::string done = root.type()->name()->qualifiedName();
  for (std::string step; std::getline(steps, step, '.');) {
    done += "_" + step;
    if (!part.hasattr(step)) {
      part.register_module(step, torch::jit::Module(c10::QualifiedName(done), root._ivalue()->compilation_unit()));
    }
    part = part.attr(step).toModule();
  }
  return part;
}

void register_weight(torch::jit::Module& root, const AssayWeight& weight) {
  const std::string name = weight.name;
  const auto& tensor = *static_cast<const at::Tensor*>(weight.tensor);
  const auto dot = name.rfind('.');
  auto part = dot == std::string::npos ? root : part_of(root, name.substr(0, dot));
  part.register_parameter(dot == std::string::npos ? name : name.substr(dot + 1), tensor, weight.is_buffer != 0);
}

// The tensor that a value of an inlined graph is known to be: a constant, or an attribute of self.
std::optional<IValue> known_value(const torch::jit::Value* value, const torch::jit::Module& self) {
  const auto* node = value->node();
  if (node->kind() == c10::prim::Param) return IValue(self._ivalue());
  if (node->kind() == c10::prim::Constant) return torch::jit::toIValue(value);
  if (node->kind() != c10::prim::GetAttr) return std::nullopt;
  const auto owner = known_value(node->input(), self);
  if (!owner || !owner->isObject()) return std::nullopt;
  return owner->toObjectRef().getAttr(node->s(c10::attr::name));
}

// Which of an operator's inputs is data and which are weights, for those that show the data's shape.
std::optional<std::pair<size_t, size_t>> data_and_weight(const std::string& kind) {
  if (kind == "aten::embedding") return {{1, 0}};
  for (const char* name : {"aten::conv1d", "aten::conv2d", "aten::conv3d", "aten::_convolution", "aten::linear"}) {
    if (kind == name) return {{0, 1}};
  }
  return std::nullopt;
}

// Which arguments have a part in each value of a graph.
std::unordered_map<const torch::jit::Value*, std::set<size_t>> parts_of_arguments(const torch::jit::Graph& graph) {
  std::unordered_map<const torch::jit::Value*, std::set<size_t>> parts;
  for (size_t index = 1; index < graph.inputs().size(); ++index) parts[graph.inputs()[index]] = {index};
  for (const auto* node : graph.nodes()) {
    std::set<size_t> joined;
    for (const auto* input : node->inputs()) joined.insert(parts[input].begin(), parts[input].end());
    for (const auto* output : node->outputs()) parts[output] = joined;
  }
  return parts;
}

// For each argument the first operator with weights that its values reach, the weights' shape, and whether values of
// other arguments reach it as well.
void describe_first_uses(const AssayModule& module, std::ostream& out) {
  auto graph = module.forward->graph()->copy();
  torch::jit::Inline(*graph);
  auto parts = parts_of_arguments(*graph);
  const char* separator = "";
  for (size_t index = 1; index < graph->inputs().size(); ++index) {
    for (const auto* node : graph->nodes()) {
      const std::string kind = node->kind().toQualString();
      const auto places = data_and_weight(kind);
      if (!places) continue;
      const auto& reaching = parts[node->input(places->first)];
      if (reaching.count(index) == 0) continue;
      const auto weight = known_value(node->input(places->second), module.module);
      if (!weight || !weight->isTensor()) break;
      out << separator << "{\"argument\":" << index - 1 << ",\"operator\":" << quoted(kind)
          << ",\"joined\":" << (reaching.size() > 1 ? "true" : "false") << ",\"weight_shape\":[";
      const auto shape = weight->toTensor().sizes();
      for (size_t i = 0; i < shape.size(); ++i) out << (i ? "," : "") << shape[i];
      out << "]}";
      separator = ",";
      break;
    }
  }
}

// Bounds this process in processor time, time and further memory, and takes its voice.
void confine_trial(uint32_t seconds, uint64_t bytes) {
  uint64_t used = 0;
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.rfind("VmData:", 0) == 0) used = std::stoull(line.substr(7)) * 1024;
  }
  const auto limit = [](int resource, uint64_t most) {
    rlimit now{};
    getrlimit(static_cast<__rlimit_resource_t>(resource), &now);
    now.rlim_cur = std::min<rlim_t>(now.rlim_max, most);
    setrlimit(static_cast<__rlimit_resource_t>(resource), &now);
  };
  limit(RLIMIT_DATA, used + bytes);
  limit(RLIMIT_CORE, 0);
  limit(RLIMIT_FSIZE, 0);
  const int silence = open("/dev/null", O_RDWR);
  for (const int stream : {0, 1, 2}) dup2(silence, stream);
  alarm(seconds);
}

std::string describe(const AssayModule& module) {
  std::ostringstream out;
  int64_t parameters = 0;
  int64_t buffers = 0;
  std::map<std::string, int64_t> types;
  for (const auto& parameter : module.module.parameters()) {
    parameters += parameter.numel();
    types[c10::toString(parameter.scalar_type())] += parameter.numel();
  }
  for (const auto& buffer : module.module.buffers()) buffers += buffer.numel();
  out << "{\"parameters\":" << parameters << ",\"buffers\":" << buffers << ",\"parameter_types\":{";
  const char* separator = "";
  for (const auto& [name, count] : types) {
    out << separator << quoted(name) << ":" << count;
    separator = ",";
  }
  out << "},\"class\":" << quoted(module.module.type()->name() ? module.module.type()->name()->qualifiedName() : "");
  out << ",\"has_forward\":" << (module.forward ? "true" : "false") << ",\"methods\":[";
  separator = "";
  for (const auto& method : module.module.get_methods()) {
    out << separator << quoted(method.name());
    separator = ",";
  }
  out << "]";
  out << ",\"writes_inputs\":" << (module.writes_inputs ? "true" : "false") << ",\"arguments\":[";
  separator = "";
  if (module.forward) {
    const auto& schema = module.forward->function().getSchema();
    for (size_t i = 1; i < schema.arguments().size(); ++i) {
      const auto& argument = schema.arguments()[i];
      out << separator << "{\"name\":" << quoted(argument.name()) << ",\"type\":" << quoted(argument.type()->repr_str())
          << ",\"kind\":" << quoted(argument_kind(argument.type()))
          << ",\"optional\":" << (argument.default_value() ? "true" : "false") << "}";
      separator = ",";
    }
    out << "],\"returns\":[";
    separator = "";
    for (const auto& returned : schema.returns()) {
      out << separator << quoted(returned.type()->repr_str());
      separator = ",";
    }
  } else {
    out << "],\"returns\":[";
  }
  out << "],\"first_uses\":[";
  if (module.forward) describe_first_uses(module, out);
  out << "]}";
  return out.str();
}

}  // namespace

void assay_free_text(char* message) {
  free(message);
}

char* assay_version(void) {
  return text(TORCH_VERSION);
}

void assay_set_interop_threads(int32_t threads) {
  // libtorch refuses a second call, and any call after the first parallel work: both are harmless.
  free(guarded([&] { at::set_num_interop_threads(threads); }));
}

void assay_set_intra_op_threads(int32_t threads) {
  free(guarded([&] { at::set_num_threads(threads); }));
}

int32_t assay_intra_op_threads(void) {
  return at::get_num_threads();
}

int32_t assay_cuda_devices(void) {
  int32_t count = 0;
  free(guarded([&] { count = at::hasCUDA() ? static_cast<int32_t>(at::detail::getCUDAHooks().deviceCount()) : 0; }));
  return count;
}

char* assay_cpu_capability(void) {
  std::string info;
  free(guarded([&] { info = at::get_cpu_capability(); }));
  return text(info);
}

char* assay_use_own_stream(int32_t cuda_index) {
  return guarded([&] {
    const c10::Device device(c10::kCUDA, static_cast<c10::DeviceIndex>(cuda_index));
    const c10::impl::VirtualGuardImpl guard(c10::kCUDA);
    guard.setDevice(device);
    guard.exchangeStream(guard.getStreamFromGlobalPool(device));
  });
}

char* assay_archive_records(const char* path, char** json) {
  return guarded([&] {
    caffe2::serialize::PyTorchStreamReader reader{std::string(path)};
    std::ostringstream out;
    const char* separator = "[";
    for (const auto& name : reader.getAllRecords()) {
      out << separator << quoted(name);
      separator = ",";
    }
    out << (*separator == '[' ? "[]" : "]");
    *json = text(out.str());
  });
}

void assay_print_to_stderr(void) {
  torch::jit::setPrintHandler([](const std::string& printed) { std::cerr << printed; });
}

char* assay_load_library(const char* path) {
  // Declared not to throw, but an initializer does: for a name that is registered already.
  void* (*volatile open)(const char*, int) = dlopen;
  return guarded([&] {
    if (open(path, RTLD_NOW | RTLD_LOCAL) == nullptr) throw std::runtime_error(dlerror());
  });
}

char* assay_module_load(const char* path, AssayModule** module) {
  return guarded([&] {
    // Weights that are made in inference mode carry no history for gradients, which operators on small
    // tensors would otherwise spend a tenth of their time on.
    const c10::InferenceMode inference;
    *module = described(torch::jit::load(path, c10::kCPU));
  });
}

char* assay_module_define(const char* name, const char* source, const int64_t* numbers,
                          const char* const* number_names, size_t count, AssayModule** module) {
  return guarded([&] {
    torch::jit::Module made(name);
    for (size_t i = 0; i < count; ++i) made.register_attribute(number_names[i], c10::IntType::get(), numbers[i]);
    made.define(source, std::make_shared<OperatorsOfTorch>());
    *module = described(std::move(made));
  });
}

char* assay_module_trace(const char* name, const AssayWeight* weights, size_t count, const void* input,
                         const char* input_name, void* (*run)(void* context, const void* input), void* context,
                         AssayModule** module) {
  return guarded([&] {
    const at::NoGradGuard no_gradients;
    torch::jit::Module made(c10::QualifiedName("__torch__." + std::string(name)),
                            std::make_shared<torch::jit::CompilationUnit>());
    for (size_t i = 0; i < count; ++i) register_weight(made, weights[i]);
    const auto traced = [&](torch::jit::Stack stack) -> torch::jit::Stack {
      const at::Tensor only = stack.at(0).toTensor();
      const std::unique_ptr<at::Tensor> output(static_cast<at::Tensor*>(run(context, &only)));
      if (!output) throw std::runtime_error("the traced function failed");
      return {*output};
    };
    const auto no_names = [](const at::Tensor&) { return std::string(); };
    const auto result = torch::jit::tracer::trace({*static_cast<const at::Tensor*>(input)}, traced, no_names,
                                                  /*strict=*/true, /*force_outplace=*/false, &made, {input_name});
    const c10::QualifiedName method(*made.type()->name(), "forward");
    made.type()->addMethod(made._ivalue()->compilation_unit()->create_function(method, result.first->graph));
    *module = described(std::move(made));
  });
}

char* assay_module_save(const AssayModule* module, const char* path) {
  return guarded([&] { module->module.save(path); });
}

char* assay_module_prepare(AssayModule* module, const AssayPreparation* how) {
  return guarded([&] {
    const c10::InferenceMode inference;
    if (how->cuda_index >= 0) {
      module->device = c10::Device(c10::kCUDA, static_cast<c10::DeviceIndex>(how->cuda_index));
      module->module.to(module->device);
    }
    if (how->scalar_type >= 0) {
      module->precision = static_cast<at::ScalarType>(how->scalar_type);
      module->module.to(*module->precision);
    }
    if (how->optimize != 0) {
      auto frozen = torch::jit::freeze(module->module);
      module->module = torch::jit::optimize_for_inference(frozen);
    }
    find_forward(*module);
  });
}

char* assay_module_describe(const AssayModule* module, char** json) {
  return guarded([&] { *json = text(describe(*module)); });
}

void assay_module_free(AssayModule* module) {
  delete module;
}

char* assay_module_call(AssayModule* module, AssayInput* inputs, size_t count, AssayOutputs** outputs,
                        int32_t* blame) {
  *blame = ASSAY_MODEL;
  return guarded([&] {
    const c10::InferenceMode inference;
    try {
      auto& forward = forward_of(*module);
      *outputs = collect(*module, forward(arguments(*module, inputs, count)));
    } catch (const Refused&) {
      *blame = ASSAY_INPUTS;
      throw;
    } catch (const Unsendable&) {
      *blame = ASSAY_OUTPUTS;
      throw;
    }
  });
}

char* assay_module_loop(AssayModule* module, AssayInput* inputs, size_t count, uint32_t warm_up, double seconds,
                        uint64_t* forwards, double* elapsed_seconds) {
  return guarded([&] {
    using clock = std::chrono::steady_clock;
    const c10::InferenceMode inference;
    auto& forward = forward_of(*module);
    const auto given = arguments(*module, inputs, count);
    for (uint32_t i = 0; i < warm_up; ++i) forward(given);
    const auto started = clock::now();
    uint64_t done = 0;
    double elapsed = 0;
    while (elapsed < seconds) {
      forward(given);
      ++done;
      elapsed = std::chrono::duration<double>(clock::now() - started).count();
    }
    *forwards = done;
    *elapsed_seconds = elapsed;
  });
}

char* assay_module_try(AssayModule* module, AssayInput* inputs, size_t count, uint32_t seconds, uint64_t bytes,
                       int32_t* ran) {
  *ran = 0;
  return guarded([&] {
    const auto parent = getpid();
    const auto child = fork();
    if (child < 0) throw std::runtime_error(std::string("cannot start a process: ") + strerror(errno));
    if (child == 0) {
      // Whatever goes wrong here ends this process alone, unheard.
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (getppid() != parent) _exit(1);
      confine_trial(seconds, bytes);
      int32_t blame = 0;
      AssayOutputs* outputs = nullptr;
      const bool called = assay_module_call(module, inputs, count, &outputs, &blame) == nullptr;
      // With outputs that no answer holds, forward() took these inputs all the same.
      _exit(called || blame == ASSAY_OUTPUTS ? 0 : 1);
    }
    int status = 0;
    while (waitpid(child, &status, 0) < 0) {
      if (errno != EINTR) throw std::runtime_error(std::string("cannot wait for a process: ") + strerror(errno));
    }
    *ran = WIFEXITED(status) && WEXITSTATUS(status) == 0;
  });
}

size_t assay_outputs_count(const AssayOutputs* outputs) {
  return outputs->leaves.size();
}

AssayOutput assay_outputs_get(const AssayOutputs* outputs, size_t index) {
  const auto& leaf = outputs->leaves[index];
  return {leaf.name.c_str(),
          static_cast<int32_t>(leaf.tensor.scalar_type()),
          c10::toString(leaf.tensor.scalar_type()),
          static_cast<int32_t>(leaf.tensor.dim()),
          leaf.tensor.sizes().data(),
          leaf.tensor.const_data_ptr(),
          leaf.tensor.nbytes()};
}

void assay_outputs_free(AssayOutputs* outputs) {
  delete outputs;
}
