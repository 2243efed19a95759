/* The baseline that Trapline's run loop is measured against: a bare KVM_RUN loop, and what it costs to look at registers.
 *
 * build: gcc -O2 -static -o bare-loop bare-loop.c
 * run:   ./bare-loop [EXITS_PER_CHUNK [CHUNKS]]     (default 1000 11)
 *
 * The guest is 64-bit, identity mapped with 2 MiB pages, and runs `in al, dx` in a loop, then HLT. The host stores one byte
 * per exit and re-enters. Printed for each variant: TSC ticks per exit, median, lowest and highest chunk. In the vmx lab a tick
 * is an emulated instruction, so that figures there are exact; elsewhere compare within one run, never between machines. */
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <x86intrin.h>

#define CHECK(x) ({ long r_ = (long)(x); if (r_ < 0) { perror(#x); exit(2); } r_; })
#define REGS KVM_SYNC_X86_REGS
#define SREGS KVM_SYNC_X86_SREGS
#define EVENTS KVM_SYNC_X86_EVENTS

static int vcpu;
static struct kvm_run *run;
static uint64_t sink; /* keeps the compiler from dropping what is read */

static const uint8_t code[] = {
    0xec,             /* again: in al, dx */
    0xff, 0xc9,       /* dec ecx */
    0x75, 0xfb,       /* jnz again */
    0xf4,             /* hlt */
    0xeb, 0xf8,       /* jmp again */
};

static void nothing(void) {}
static void look(void) { sink += run->s.regs.regs.rip + run->s.regs.regs.rcx; }
static void get_regs(void) { struct kvm_regs r; CHECK(ioctl(vcpu, KVM_GET_REGS, &r)); sink += r.rip; }
static void get_sregs(void) { struct kvm_sregs r; CHECK(ioctl(vcpu, KVM_GET_SREGS, &r)); sink += r.cr3; }
static void get_events(void) { struct kvm_vcpu_events r; CHECK(ioctl(vcpu, KVM_GET_VCPU_EVENTS, &r)); sink += r.flags; }
static void set_regs(void) { run->kvm_dirty_regs = REGS; look(); }

static const struct { const char *name; uint64_t sync; void (*each)(void); } variants[] = {
    {"nothing else", 0, nothing},
    {"sync REGS", REGS, nothing},
    {"sync REGS, read", REGS, look},
    {"sync REGS|SREGS", REGS | SREGS, nothing},
    {"sync REGS|SREGS|EVENTS", REGS | SREGS | EVENTS, nothing},
    {"sync REGS|EVENTS", REGS | EVENTS, nothing},
    {"sync REGS, written back", REGS, set_regs},
    {"KVM_GET_REGS", 0, get_regs},
    {"KVM_GET_SREGS", 0, get_sregs},
    {"KVM_GET_VCPU_EVENTS", 0, get_events},
};

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

int main(int argc, char **argv) {
    unsigned exits = argc > 1 ? atoi(argv[1]) : 1000, chunks = argc > 2 ? atoi(argv[2]) : 11;
    double cost[1000];
    if (exits == 0 || chunks == 0 || chunks > 1000) { fprintf(stderr, "usage: bare-loop [EXITS [CHUNKS]]\n"); return 2; }
    int kvm = CHECK(open("/dev/kvm", O_RDWR)), vm = CHECK(ioctl(kvm, KVM_CREATE_VM, 0));
    uint64_t offered = CHECK(ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_SYNC_REGS));
    ioctl(vm, KVM_SET_TSS_ADDR, 0xfffbd000UL);
    uint8_t *ram = mmap(0, 2 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct kvm_userspace_memory_region slot = {.memory_size = 2 << 20, .userspace_addr = (uint64_t)ram};
    CHECK(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &slot));
    vcpu = CHECK(ioctl(vm, KVM_CREATE_VCPU, 0));
    run = mmap(0, CHECK(ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0)), PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
    static struct { struct kvm_cpuid2 head; struct kvm_cpuid_entry2 entry[256]; } cpuid = {.head.nent = 256};
    CHECK(ioctl(kvm, KVM_GET_SUPPORTED_CPUID, &cpuid));
    CHECK(ioctl(vcpu, KVM_SET_CPUID2, &cpuid));

    *(uint64_t *)(ram + 0x1000) = 0x2003; /* PML4, PDPT, and a directory of 2 MiB pages */
    *(uint64_t *)(ram + 0x2000) = 0x3003;
    for (uint64_t i = 0; i < 512; i++) ((uint64_t *)(ram + 0x3000))[i] = i << 21 | 0x83;
    memcpy(ram + 0x8000, code, sizeof code);
    struct kvm_sregs s;
    CHECK(ioctl(vcpu, KVM_GET_SREGS, &s));
    s.cr0 = 0x80000033; s.cr3 = 0x1000; s.cr4 = 0x20; s.efer = 0x500;
    s.cs = (struct kvm_segment){.limit = ~0u, .selector = 8, .type = 11, .present = 1, .l = 1, .s = 1, .g = 1};
    s.ds = (struct kvm_segment){.limit = ~0u, .selector = 16, .type = 3, .present = 1, .db = 1, .s = 1, .g = 1};
    s.es = s.fs = s.gs = s.ss = s.ds;
    CHECK(ioctl(vcpu, KVM_SET_SREGS, &s));

    printf("%-26s %10s %10s %10s   ticks per exit, %u chunks of %u exits\n", "", "median", "lowest", "highest", chunks, exits);
    for (unsigned v = 0; v < sizeof variants / sizeof *variants; v++) {
        if (variants[v].sync & ~offered) { printf("%-26s not offered\n", variants[v].name); continue; }
        run->kvm_valid_regs = variants[v].sync;
        for (unsigned c = 0; c < chunks + 1; c++) { /* the first chunk warms up */
            struct kvm_regs r = {.rip = 0x8000, .rflags = 2, .rsp = 0x8000, .rcx = exits, .rdx = 0x10};
            CHECK(ioctl(vcpu, KVM_SET_REGS, &r));
            unsigned served = 0;
            uint64_t begin = __rdtsc();
            for (;;) {
                CHECK(ioctl(vcpu, KVM_RUN, 0));
                if (run->exit_reason != KVM_EXIT_IO) break;
                ((uint8_t *)run)[run->io.data_offset] = (uint8_t)served++;
                variants[v].each();
            }
            uint64_t end = __rdtsc();
            if (run->exit_reason != KVM_EXIT_HLT || served != exits) { printf("exit %u after %u\n", run->exit_reason, served); return 1; }
            if (c) cost[c - 1] = (double)(end - begin) / exits;
        }
        qsort(cost, chunks, sizeof *cost, compare);
        printf("%-26s %10.0f %10.0f %10.0f\n", variants[v].name, cost[chunks / 2], cost[0], cost[chunks - 1]);
    }
    return sink == 42 ? 0 : 0;
}
