/* libsystem.so in small: the one library whose code may make calls once the loader has locked the program down. */
typedef unsigned long word;

static word call4(word number, word a, word b, word c, word d)
{
    register word rdx __asm__("rdx") = a;
    register word rdi __asm__("rdi") = b;
    register word rbx __asm__("rbx") = c;
    register word rsi __asm__("rsi") = d;
    __asm__ volatile("syscall" : "+a"(number) : "r"(rdx), "r"(rdi), "r"(rbx), "r"(rsi) : "rcx", "r11", "memory");
    return number;
}

word syscall0(word number) { return call4(number, 0, 0, 0, 0); }
word syscall1(word number, word a) { return call4(number, a, 0, 0, 0); }
word syscall2(word number, word a, word b) { return call4(number, a, b, 0, 0); }
word syscall3(word number, word a, word b, word c) { return call4(number, a, b, c, 0); }
word syscall4(word number, word a, word b, word c, word d) { return call4(number, a, b, c, d); }
