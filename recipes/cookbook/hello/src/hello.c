/* hello.c: greets the world, or whoever is named on the command line. */

#include <stdio.h>
#include <string.h>

#ifndef VERSION
#define VERSION "unknown"
#endif

static void usage(FILE *stream)
{
    fputs("Usage: hello [--version | --help | NAME...]\n"
          "Greet the world, or each NAME on a line of its own.\n", stream);
}

int main(int argc, char **argv)
{
    if (argc == 1) {
        puts("Hello, world!");
    } else if (strcmp(argv[1], "--help") == 0) {
        usage(stdout);
    } else if (strcmp(argv[1], "--version") == 0) {
        puts("hello " VERSION);
    } else if (argv[1][0] == '-') {
        fprintf(stderr, "hello: unknown option: %s\n", argv[1]);
        usage(stderr);
        return 2;
    } else {
        for (int i = 1; i < argc; i++)
            printf("Hello, %s!\n", argv[i]);
    }
    /* A full disk or a closed pipe shows only when the buffer is written. */
    if (fflush(stdout) != 0 || ferror(stdout)) {
        perror("hello: standard output");
        return 1;
    }
    return 0;
}
