/* Nothing, successfully. */
int main(void) { return 0; }
