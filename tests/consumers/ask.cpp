/* The same as ask.c in C++: handles in unique_ptr, failures as exceptions, events by a lambda.
 *   ask MODEL QUESTION TEMPERATURE SEED */
#include <refusion.h>

#include <cstdlib>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace
{

template <typename T, void (*destroy)(T *)> struct destroyer {
    void operator()(T *object) const
    {
        destroy(object);
    }
};
template <typename T, void (*destroy)(T *)> using handle = std::unique_ptr<T, destroyer<T, destroy>>;

struct failure : std::runtime_error {
    using std::runtime_error::runtime_error;
};

/* Makes an object by a call that takes where to put it first and the error last. */
template <typename T, void (*destroy)(T *), typename Call> handle<T, destroy> make(Call call)
{
    T *object = nullptr;
    rf_error err{};
    if (call(&object, &err) != RF_OK)
        throw failure(err.message);
    return handle<T, destroy>(object);
}

std::vector<uint32_t> ask(rf_session *session, const std::string &question)
{
    rf_error err{};
    const rf_message message{"user", question.c_str()};
    size_t committed = 0;
    auto count_commits = [](void *user, rf_session *, const rf_event *event) {
        if (event->kind == RF_EVENT_COMMITTED)
            ++*static_cast<size_t *>(user);
        return true;
    };
    if (rf_session_begin_chat(session, &message, 1, true, &err) != RF_OK ||
        rf_session_generate(session, count_commits, &committed, &err) != RF_OK)
        throw failure(err.message);
    size_t count = 0;
    const uint32_t *tokens = rf_session_tokens(session, &count);
    if (committed < count)
        throw failure("fewer commits than tokens");
    return {tokens, tokens + count};
}

} // namespace

int main(int argc, char **argv)
try {
    if (argc != 5)
        throw failure("usage: ask MODEL QUESTION TEMPERATURE SEED");
    rf_model_desc loading{};
    rf_session_desc talking{};
    loading.no_tune = true;
    talking.settings.temperature = std::strtof(argv[3], nullptr);
    talking.settings.seed = std::strtoull(argv[4], nullptr, 10);
    const auto context = make<rf_context, rf_context_destroy>(
        [](rf_context **out, rf_error *err) { return rf_context_create(out, nullptr, err); });
    const auto model = make<rf_model, rf_model_destroy>([&](rf_model **out, rf_error *err) {
        return rf_model_load(out, context.get(), argv[1], &loading, err);
    });
    const auto session = make<rf_session, rf_session_destroy>(
        [&](rf_session **out, rf_error *err) { return rf_session_create(out, model.get(), &talking, err); });
    const char *separator = "";
    for (uint32_t token : ask(session.get(), argv[2])) {
        std::cout << separator << token;
        separator = ",";
    }
    std::cout << "\n";
    return 0;
} catch (const std::exception &e) {
    std::cerr << "ask: " << e.what() << "\n";
    return 1;
}
