// eval, and what train does with held-out data while it goes.
#include "runtime/eval.h"

#include "runtime/weights.h"

#include <math.h>
#include <stdio.h>

DataUse eval_use(const PlimOptions *o) {
    return (DataUse){.part = o->holdout > 0 ? DATA_HELD : DATA_ALL,
                     .holdout = o->holdout,
                     .seed = (uint64_t)o->seed};
}

int64_t eval_steps(const Loop *l) {
    // Examples at the end that fill no whole step are left out; fewer than one step takes are
    // taken again.
    const uint64_t steps = inputs_steps(l->inputs, 1);
    return steps > 0 ? (int64_t)steps : 1;
}

PlimStatus eval_mean(Loop *l, int64_t steps, double *mean, PlimError *error) {
    // Of the losses; double, so that long evaluations lose nothing.
    double sum = 0;
    loop_begin(l, 0, steps);
    while (l->step < l->end) {
        double loss;
        const PlimStatus status = loop_step(l, &loss, error);
        if (status != PLIM_OK)
            return status;
        sum += loss;
    }
    *mean = sum / (double)steps;
    return PLIM_OK;
}

PlimStatus eval_run(PlimSession *s, const PlimOptions *o, PlimError *error) {
    Loop l;
    const DataUse use = eval_use(o);
    PlimStatus status = loop_open(&l, s, o, "eval", NULL, &use, error);
    if (status == PLIM_OK)
        status = weights_begin(s, o->weights, o->allow_missing ? WEIGHTS_SOME : WEIGHTS_ALL,
                               o->seed, error);
    const int64_t steps = status != PLIM_OK ? 0 : o->steps ? o->steps : eval_steps(&l);
    double mean;
    if (status == PLIM_OK)
        status = eval_mean(&l, steps, &mean, error);
    if (status == PLIM_OK)
        // Perplexity: e to the mean cross entropy a token, in nats.
        printf("loss %.6f over %lld steps (perplexity %.4f)\n", mean, (long long)steps, exp(mean));
    PlimError closing;
    const PlimStatus closed = loop_close(&l, &closing);
    if (status == PLIM_OK && closed != PLIM_OK) {
        *error = closing;
        status = closed;
    }
    return status;
}
