// GLPK 5.0 behind the interface to integer programs: simplex on the relaxation, then branch and
// cut.
//
// GLPK has no limit on nodes and none on the simplex steps of a node: both are counted in the
// callback, which it calls before each relaxation, and the search is stopped there. The root's
// relaxation, which may be the dearest, has a limit on steps of its own. Nothing here goes by the
// clock: GLPK's time limit and its proximity search stay off. The start is handed in through the
// callback, since GLPK often finds no first answer by itself. Where the least objective is known to
// be a multiple of a step, branches that can't be better by a whole step are cut off.
//
// Entry: in a child process. Exit: reply and values filled. Not thread safe: neither is GLPK's.
#include "passes/mip/mip_glpk.h"

#include <glpk.h>
#include <math.h>

// MEMORY_MIB: GLPK aborts beyond. It counts its own requests, so this is the same everywhere.
enum { MEMORY_MIB = 2048 };

typedef struct {
    const MipTask *task;
    double *start; // from 1 on, as GLPK counts; NULL where there is none, or it was handed in
    bool stopped;  // by counted work
    int64_t nodes; // seen so far
    double bound;  // of what is left when stopped
} Search;

// GLPK's kinds of ranges.
static int range_kind(double low, double high) {
    if (isfinite(low) && isfinite(high))
        return low < high ? GLP_DB : GLP_FX;
    return isfinite(low) ? GLP_LO : isfinite(high) ? GLP_UP : GLP_FR;
}

static double finite_or_0(double x) {
    return isfinite(x) ? x : 0;
}

static void load_columns(glp_prob *g, const Mip *p) {
    glp_add_cols(g, p->column_count);
    for (int j = 0; j < p->column_count; j++) {
        const MipColumn *c = &p->column[j];
        glp_set_col_bnds(g, j + 1, range_kind(c->low, c->high), finite_or_0(c->low),
                         finite_or_0(c->high));
        glp_set_obj_coef(g, j + 1, c->cost);
        if (c->kind != MIP_CONTINUOUS)
            glp_set_col_kind(g, j + 1, GLP_IV);
    }
}

// A row at a time: GLPK copies.
static void load_rows(glp_prob *g, const MipTask *task) {
    const Mip *p = task->problem->program;
    int *column = task->whole_room;
    double *value = task->number_room;
    glp_add_rows(g, p->row_count > 0 ? p->row_count : 1);
    for (int i = 0; i < p->row_count; i++) {
        int count = 0;
        for (int k = p->row[i].begin; k < p->row[i + 1].begin; k++) {
            // What added up to nothing would be stored all the same.
            if (p->entry[k].value == 0)
                continue;
            column[++count] = p->entry[k].column + 1;
            value[count] = p->entry[k].value;
        }
        glp_set_mat_row(g, i + 1, count, column, value);
        glp_set_row_bnds(g, i + 1, range_kind(p->row[i].low, p->row[i].high),
                         finite_or_0(p->row[i].low), finite_or_0(p->row[i].high));
    }
}

// Called by GLPK at every station of a node.
static void watch(glp_tree *tree, void *user) {
    Search *s = user;
    int active, kept, total;
    glp_ios_tree_size(tree, &active, &kept, &total);
    s->nodes = total;
    if (glp_ios_reason(tree) == GLP_IHEUR && s->start) {
        glp_ios_heur_sol(tree, s->start);
        s->start = NULL;
    }
    if (s->stopped || (total <= s->task->node_limit &&
                       glp_get_it_cnt(glp_ios_get_prob(tree)) <= s->task->pivot_limit))
        return;
    const int best = glp_ios_best_node(tree);
    s->bound = best ? glp_ios_node_bound(tree, best) : -HUGE_VAL;
    s->stopped = true;
    glp_ios_terminate(tree);
}

// How much better an answer must be to be looked for, relative to 1 + |objective|; relaxed: the
// root's relaxation.
static double least_progress(const MipTask *task, double relaxed) {
    const MipProblem *problem = task->problem;
    const double usual = 1e-7;
    if (problem->program->step <= 0 || !problem->start)
        return usual;
    // All answers lie between the two, so this is never more than a step.
    const double start = mip_objective(problem->program, problem->start);
    const double size = 1 + fmax(fabs(start), fabs(relaxed));
    return fmin(0.5, fmax(usual, 0.9 * problem->program->step / size));
}

static void set_parameters(glp_iocp *to, const MipSettings *from, double progress) {
    static const int branch[] = {[MIP_BRANCH_LIKELY] = GLP_BR_DTH,
                                 [MIP_BRANCH_FIRST] = GLP_BR_FFV,
                                 [MIP_BRANCH_LAST] = GLP_BR_LFV,
                                 [MIP_BRANCH_MIDDLE] = GLP_BR_MFV,
                                 [MIP_BRANCH_HISTORY] = GLP_BR_PCH};
    static const int next[] = {
        [MIP_NEXT_BEST] = GLP_BT_BLB, [MIP_NEXT_DEEP] = GLP_BT_DFS, [MIP_NEXT_LIKELY] = GLP_BT_BPH};
    glp_init_iocp(to);
    to->msg_lev = GLP_MSG_OFF;
    to->br_tech = branch[from->branch];
    to->bt_tech = next[from->next];
    to->gmi_cuts = from->use & MIP_CUTS_GOMORY ? GLP_ON : GLP_OFF;
    to->mir_cuts = from->use & MIP_CUTS_ROUNDING ? GLP_ON : GLP_OFF;
    to->cov_cuts = from->use & MIP_CUTS_COVER ? GLP_ON : GLP_OFF;
    to->clq_cuts = from->use & MIP_CUTS_CLIQUE ? GLP_ON : GLP_OFF;
    to->presolve = from->use & MIP_PRESOLVE ? GLP_ON : GLP_OFF;
    // Rounding errors of whole numbers are multiplied by large coefficients.
    to->tol_int = 1e-7;
    to->tol_obj = progress;
}

// The relaxation's optimum, which branch and cut starts from. False where there is none to start
// from: reply then says why, or that the work was used up.
static bool relax(glp_prob *g, const MipTask *task, MipReply *reply) {
    glp_smcp p;
    glp_init_smcp(&p);
    p.msg_lev = GLP_MSG_OFF;
    p.meth = GLP_DUALP;
    p.it_lim = task->pivot_limit < 1000000000 ? (int)task->pivot_limit : 1000000000;
    glp_scale_prob(g, GLP_SF_AUTO);
    glp_adv_basis(g, 0);
    const int failed = glp_simplex(g, &p);
    reply->pivots = glp_get_it_cnt(g);
    // A singular or ill-conditioned basis is given up like used-up work: nothing is known.
    if (failed)
        return false;
    if (glp_get_status(g) == GLP_NOFEAS)
        reply->status = MIP_INFEASIBLE;
    return glp_get_status(g) == GLP_OPT;
}

// What branch and cut left in the problem. finished: it has looked everywhere.
static void read_answer(glp_prob *g, const MipTask *task, const Search *s, bool finished,
                        double progress, MipReply *reply) {
    const int status = glp_mip_status(g);
    reply->nodes = s->nodes;
    reply->pivots = glp_get_it_cnt(g);
    reply->bound = s->stopped ? s->bound : reply->bound;
    if (status == GLP_NOFEAS && finished)
        reply->status = MIP_INFEASIBLE;
    if (status != GLP_OPT && status != GLP_FEAS)
        return;
    reply->status = finished ? MIP_OPTIMAL : MIP_FEASIBLE;
    reply->objective = glp_mip_obj_val(g);
    if (finished)
        reply->bound = reply->objective - progress * (1 + fabs(reply->objective));
    for (int j = 0; j < task->problem->program->column_count; j++)
        task->value[j] = glp_mip_col_val(g, j + 1);
}

void mip_glpk_solve(const MipTask *task, MipReply *reply) {
    const MipProblem *problem = task->problem;
    const int columns = problem->program->column_count;
    *reply = (MipReply){.status = MIP_NONE, .bound = -HUGE_VAL};
    glp_term_out(GLP_OFF);
    glp_mem_limit(MEMORY_MIB);
    glp_prob *g = glp_create_prob();
    load_columns(g, problem->program);
    load_rows(g, task);
    const bool presolve = (problem->settings.use & MIP_PRESOLVE) != 0;
    // Presolving solves the relaxation itself, of the program it makes.
    if (!presolve && !relax(g, task, reply))
        return;
    Search s = {.task = task, .nodes = 1};
    if (!presolve)
        reply->bound = glp_get_obj_val(g);
    if (problem->start && !presolve) {
        s.start = task->number_room;
        for (int j = 0; j < columns; j++)
            s.start[j + 1] = problem->start[j];
    }
    glp_iocp p;
    const double progress = presolve ? 1e-7 : least_progress(task, reply->bound);
    set_parameters(&p, &problem->settings, progress);
    p.cb_func = watch;
    p.cb_info = &s;
    const int failed = glp_intopt(g, &p);
    // Presolving may end the search before there is a tree.
    if (failed == GLP_ENOPFS)
        reply->status = MIP_INFEASIBLE;
    read_answer(g, task, &s, failed == 0, progress, reply);
}
