/* A library with one function, which is its entry point.
 * builds: amd64-lib i386-lib */
int answer(void);
int answer(void) { return 42; }
