// hnswlib as a peer of bench_index.py: a process that is told "build" and "search EF OUT" on standard
// input and answers a line each. One thread. Arguments: BASE.f32 QUERIES.f32 DIM COSINE|EUCLID K.
// Cosine is the inner product of vectors that the driver has normalised.
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include <time.h>

#include <hnswlib/hnswlib.h>

static std::vector<float> read_floats(const char *path)
{
    std::ifstream in(path, std::ios::binary | std::ios::ate);
    std::vector<float> data(static_cast<size_t>(in.tellg()) / sizeof(float));
    in.seekg(0);
    in.read(reinterpret_cast<char *>(data.data()),
            static_cast<std::streamsize>(data.size() * sizeof(float)));
    return data;
}

static double seconds(clockid_t clock)
{
    timespec now;
    clock_gettime(clock, &now);
    return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

int main(int argc, char **argv)
{
    if (argc != 6) {
        return 2;
    }
    const std::vector<float> base = read_floats(argv[1]), queries = read_floats(argv[2]);
    const size_t dim = std::stoul(argv[3]), k = std::stoul(argv[5]);
    const size_t n = base.size() / dim, m = queries.size() / dim;
    std::unique_ptr<hnswlib::SpaceInterface<float>> space;
    if (std::string(argv[4]) == "COSINE") {
        space = std::make_unique<hnswlib::InnerProductSpace>(dim);
    } else {
        space = std::make_unique<hnswlib::L2Space>(dim);
    }
    std::unique_ptr<hnswlib::HierarchicalNSW<float>> index;
    std::string line;
    while (std::getline(std::cin, line)) {
        std::istringstream words(line);
        std::string verb, out;
        words >> verb;
        if (verb == "build") {
            const double begin = seconds(CLOCK_MONOTONIC);
            index = std::make_unique<hnswlib::HierarchicalNSW<float>>(space.get(), n, 16, 200);
            for (size_t i = 0; i < n; i++) {
                index->addPoint(base.data() + i * dim, i);
            }
            const double spent = seconds(CLOCK_MONOTONIC) - begin;
            const size_t bytes = n * index->size_data_per_element_;
            std::printf("built %.6f %zu\n", spent, bytes);
        } else if (verb == "search") {
            size_t ef;
            words >> ef >> out;
            index->setEf(ef);
            std::vector<int32_t> ids(m * k, -1);
            const double begin = seconds(CLOCK_THREAD_CPUTIME_ID);
            for (size_t i = 0; i < m; i++) {
                auto found = index->searchKnn(queries.data() + i * dim, k);
                for (size_t j = found.size(); j-- > 0; found.pop()) {
                    ids[i * k + j] = static_cast<int32_t>(found.top().second);
                }
            }
            const double spent = seconds(CLOCK_THREAD_CPUTIME_ID) - begin;
            std::ofstream(out, std::ios::binary)
                .write(reinterpret_cast<const char *>(ids.data()),
                       static_cast<std::streamsize>(ids.size() * sizeof(int32_t)));
            std::printf("searched %.6f\n", spent);
        }
        std::fflush(stdout);
    }
    return 0;
}
