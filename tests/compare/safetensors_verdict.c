// Opens each file named on the command line as safetensors and prints "good" or "bad", a line each:
// our half of safetensors_mutations.py.
#include "runtime/safetensors.h"

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        SafeFile *f;
        PlimError error;
        const PlimStatus status = safetensors_open(argv[i], &f, &error);
        if (status == PLIM_OK)
            safetensors_close(f);
        puts(status == PLIM_OK ? "good" : "bad");
    }
    return 0;
}
