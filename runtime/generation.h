// A generation: one saved moment of a training, in a folder of its own.
//
//     DIR/step-N/model.safetensors       parameters and saved state, by their published names
//     DIR/step-N/optimizer.safetensors   optimizer state
//     DIR/step-N/complete.json           the marker, written last: see Generation
//
// While it is written it is called DIR/.step-N.tmp. It counts where its marker reads and both files
// have the sizes that the marker states; whatever else stands in DIR is left alone.
#ifndef PLIM_RUNTIME_GENERATION_H
#define PLIM_RUNTIME_GENERATION_H

#include "runtime/run.h"
#include "runtime/safetensors.h"

enum { GENERATION_MODEL, GENERATION_OPTIMIZER, GENERATION_FILES };
enum { GENERATIONS_KEPT = 2 };

// What the marker says.
typedef struct {
    int64_t step;                     // updates made, from 1 on; 0: no generation
    int64_t steps;                    // of the whole training: what schedules see
    int64_t seed;                     // of initial values, random draws and the order of the data
    uint64_t data;                    // inputs_digest of what it is trained on
    uint64_t knobs;                   // session_knob_digest of the entry
    char model[128];                  // its name, cut; for people
    uint64_t digest;                  // of the plan that wrote it, for people; not read back
    uint64_t bytes[GENERATION_FILES]; // of each file
} Generation;

// The tensors of one file, and the window that they are seen through, by one thread: out stays
// where it is.
typedef struct {
    SafeSource *tensor;
    uint32_t count;
    RunWindow window;
} GenerationTensors;

// Those that a generation of this program holds, with their places in the run. PLIM_NO_MEMORY,
// PLIM_MACHINE.
PlimStatus generation_tensors_new(const Plan *p, PlimRun *run,
                                  GenerationTensors out[GENERATION_FILES], PlimError *error);
void generation_tensors_release(GenerationTensors tensors[GENERATION_FILES]);

// A folder of generations, open.
typedef struct {
    int fd;
    const char *path; // for messages
} GenerationFolder;

// The newest generation that counts; step 0 where there is none. Of newer ones that do not count, a
// line each to stderr. PLIM_IO where the folder can't be read.
PlimStatus generation_newest(const GenerationFolder *f, Generation *out, PlimError *error);
// Removes what earlier runs left half-written. Only one program at a time may write to the folder.
PlimStatus generation_sweep(const GenerationFolder *f, PlimError *error);
// Removes those older than the newest GENERATIONS_KEPT that count.
PlimStatus generation_drop_old(const GenerationFolder *f, PlimError *error);
// Removes the three files and the folder called name in f. A folder with other files in it stays,
// without the three; a folder that is not there is no error.
PlimStatus generation_remove(const GenerationFolder *f, const char *name, PlimError *error);

// A generation that is being written.
typedef struct {
    const GenerationFolder *folder;
    Generation what;
    char name[48], temporary[48];
    int fd;                     // of the temporary folder
    int file[GENERATION_FILES]; // written, not yet synced
} GenerationWriter;

// Writes both files under the temporary name; the tensors are not read afterwards. what->bytes is
// filled in here. On failure nothing stays.
PlimStatus generation_store(const GenerationFolder *f, const Generation *what,
                            const GenerationTensors tensors[GENERATION_FILES],
                            GenerationWriter *out, PlimError *error);
// Syncs the files, writes the marker, and gives the generation its name: on PLIM_OK it survives a
// power failure. A generation of the same step that does not count is replaced. Ends the writer
// either way; on failure earlier generations are as they were.
PlimStatus generation_commit(GenerationWriter *w, PlimError *error);

// The name of each file, and of the marker.
const char *generation_file_name(int file);
#define GENERATION_MARKER "complete.json"
// "step-N".
void generation_name(int64_t step, char out[48]);

#endif
