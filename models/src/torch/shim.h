// What the model host needs of libtorch and tch does not bind: TorchScript modules with their
// signature, calls with any mix of inputs, freezing and optimizing, compiling from source.
//
// Every function that can fail returns NULL, or a message that the caller gives back to
// assay_free_text. Nothing here throws.

#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct AssayModule AssayModule;
typedef struct AssayOutputs AssayOutputs;

// One input of a call. `owner` is released with assay_release_owner (in Rust) when libtorch drops
// the last reference to the memory, whenever that is. A call sets the owner of every input that it has
// taken to NULL. A rank of -1 marks an argument left to its default value.
typedef struct {
  const char* name;
  int32_t scalar_type;
  int32_t rank;
  const int64_t* shape;
  void* data;
  void* owner;
} AssayInput;

// One tensor of an answer, valid until assay_outputs_free. `data` is on the CPU and contiguous. `type_name` is
// libtorch's name of `scalar_type`, and lives as long as the process.
typedef struct {
  const char* name;
  int32_t scalar_type;
  const char* type_name;
  int32_t rank;
  const int64_t* shape;
  const void* data;
  size_t bytes;
} AssayOutput;

// How a module is prepared before it is called. -1 leaves the device on the CPU and the type as saved.
typedef struct {
  int32_t cuda_index;
  int32_t scalar_type;
  int32_t optimize;
} AssayPreparation;

void assay_free_text(char* text);
char* assay_version(void);
void assay_set_interop_threads(int32_t threads);
void assay_set_intra_op_threads(int32_t threads);
int32_t assay_intra_op_threads(void);
int32_t assay_cuda_devices(void);
char* assay_cpu_capability(void);
char* assay_use_own_stream(int32_t cuda_index);

// The names of the records of a file as libtorch's own reader finds them, without the folder that all are in: JSON.
char* assay_archive_records(const char* path, char** json);
// From now on, what models print goes to the standard error.
void assay_print_to_stderr(void);

// Loads a shared object, which stays for good; its initializers register operators and classes.
char* assay_load_library(const char* path);

char* assay_module_load(const char* path, AssayModule** module);
char* assay_module_define(const char* name, const char* source, const int64_t* numbers,
                          const char* const* number_names, size_t count, AssayModule** module);

// Traces `run` over `input`. Tensors are pointers to at::Tensor, as tch hands them out; those of
// `weights` become parameters and buffers of (sub)modules by their dotted names. `run` returns a new
// at::Tensor that becomes ours, or NULL.
typedef struct {
  const char* name;
  const void* tensor;
  int32_t is_buffer;
} AssayWeight;
char* assay_module_trace(const char* name, const AssayWeight* weights, size_t count, const void* input,
                         const char* input_name, void* (*run)(void* context, const void* input), void* context,
                         AssayModule** module);

char* assay_module_save(const AssayModule* module, const char* path);
char* assay_module_prepare(AssayModule* module, const AssayPreparation* how);
char* assay_module_describe(const AssayModule* module, char** json);
void assay_module_free(AssayModule* module);

// What a call failed for: `blame` is set to one of these.
enum { ASSAY_MODEL = 0, ASSAY_INPUTS = 1, ASSAY_OUTPUTS = 2 };
char* assay_module_call(AssayModule* module, AssayInput* inputs, size_t count, AssayOutputs** outputs, int32_t* blame);
// One call in a process of its own (a copy of this one, which must have no other thread at work), ended after so many
// seconds and held to so many bytes more than this process has: `ran` tells whether it gave outputs.
char* assay_module_try(AssayModule* module, AssayInput* inputs, size_t count, uint32_t seconds, uint64_t bytes,
                       int32_t* ran);
// Nothing but forward() in a loop until `seconds` have passed, `warm_up` runs before.
char* assay_module_loop(AssayModule* module, AssayInput* inputs, size_t count, uint32_t warm_up, double seconds,
                        uint64_t* forwards, double* elapsed_seconds);
size_t assay_outputs_count(const AssayOutputs* outputs);
AssayOutput assay_outputs_get(const AssayOutputs* outputs, size_t index);
void assay_outputs_free(AssayOutputs* outputs);

// Implemented in Rust.
void assay_release_owner(void* owner);

#ifdef __cplusplus
}
#endif
