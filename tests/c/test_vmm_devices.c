// SPDX-License-Identifier: GPL-2.0-only
/* The VMM's serial port, keyboard controller, and PCI bus, driven as a guest drives them. */
#include <errno.h>

#include "vmm_driver.h"
#include "vmm_test.h"

static uint8_t uart_in(struct machine *machine, uint32_t reg)
{
	uint8_t value;

	serial_ops.read(&machine->serial, reg, &value, 1);
	return value;
}

static void uart_out(struct machine *machine, uint32_t reg, uint8_t value)
{
	serial_ops.write(&machine->serial, reg, &value, 1);
}

static void uart_text(struct machine *machine, const char *text)
{
	for (; *text; text++)
		uart_out(machine, 0, (uint8_t)*text);
}

static uint64_t uart_edges(struct machine *machine)
{
	eventfd_t count;

	return eventfd_read(machine->irq4, &count) ? 0 : count;
}

TEST(serial_writes_whole_lines_and_prompts)
{
	int fd = output_file();
	struct machine *machine = machine_create(fd);

	uart_text(machine, "half");
	check_output(fd, "");
	uart_text(machine, " line\n$ ");
	check_output(fd, "half line\n");
	uart_out(machine, 1, 0); /* IER: what every write to the terminal ends with */
	check_output(fd, "half line\n$ ");
	uart_text(machine, "the end");
	machine_destroy(machine);
	check_output(fd, "half line\n$ the end");
	close(fd);
}

/* The steps of Linux's autoconfig() and autoconfig_16550a(), with the answers of a 16550A. */
TEST(serial_is_a_16550a_to_the_linux_probe)
{
	struct machine *machine = machine_create(-1);

	uart_out(machine, 1, 0);
	CHECK(uart_in(machine, 1) == 0);
	uart_out(machine, 1, 0x0f);
	CHECK(uart_in(machine, 1) == 0x0f);
	uart_out(machine, 1, 0);
	uart_out(machine, 4, 0x1a); /* loop: RTS comes back as CTS, OUT2 as DCD */
	CHECK((uart_in(machine, 6) & 0xf0) == 0x90);
	uart_out(machine, 4, 0x15); /* DTR as DSR, OUT1 as RI */
	CHECK((uart_in(machine, 6) & 0xf0) == 0x60);
	uart_out(machine, 4, 0);
	CHECK(uart_in(machine, 6) == 0xb0 && uart_in(machine, 2) == 0x01);
	uart_out(machine, 2, 0x21); /* a 16750 would show bit 5 */
	CHECK(uart_in(machine, 2) == 0xc1);
	uart_out(machine, 1, 0x40); /* an XScale would keep bit 6 */
	CHECK(uart_in(machine, 1) == 0);
	uart_out(machine, 7, 0xa5);
	CHECK(uart_in(machine, 7) == 0xa5);
	machine_destroy(machine);
}

TEST(serial_divisor_is_apart_from_data)
{
	struct machine *machine = machine_create(-1);

	uart_out(machine, 3, 0x83);
	uart_out(machine, 0, 0x0c);
	uart_out(machine, 1, 0x01);
	CHECK(uart_in(machine, 0) == 0x0c && uart_in(machine, 1) == 0x01 && uart_in(machine, 3) == 0x83);
	uart_out(machine, 3, 0x03);
	CHECK(uart_in(machine, 1) == 0 && machine->out.written == 0 && machine->serial.used == 0);
	machine_destroy(machine);
}

TEST(serial_loopback_holds_sixteen_bytes_and_then_overruns)
{
	struct machine *machine = machine_create(-1);
	int held = 0;

	uart_out(machine, 2, 0x01);
	uart_out(machine, 4, 0x10);
	for (int i = 0; i < 256; i++)
		uart_out(machine, 0, (uint8_t)i);
	CHECK(uart_in(machine, 5) == 0x63 && uart_in(machine, 5) == 0x61);
	for (; uart_in(machine, 5) & 1; held++)
		CHECK(uart_in(machine, 0) == held);
	CHECK(held == 16 && machine->out.written == 0 && machine->serial.used == 0);
	machine_destroy(machine);
}

TEST(serial_says_that_the_transmitter_is_empty)
{
	struct machine *machine = machine_create(-1);

	uart_out(machine, 4, 0x08);
	CHECK(uart_in(machine, 5) == 0x60 && uart_in(machine, 2) == 0x01 && uart_edges(machine) == 0);
	uart_out(machine, 1, 0x02);
	CHECK(uart_edges(machine) == 1 && uart_in(machine, 2) == 0x02 && uart_in(machine, 2) == 0x01);
	uart_out(machine, 0, 'x');
	CHECK(uart_edges(machine) == 1 && uart_in(machine, 2) == 0x02);
	uart_out(machine, 1, 0x00);
	uart_out(machine, 0, 'x');
	CHECK(uart_edges(machine) == 0);
	machine_destroy(machine);
}

TEST(serial_interrupts_need_out2)
{
	struct machine *machine = machine_create(-1);

	uart_out(machine, 1, 0x02);
	CHECK(uart_in(machine, 2) == 0x02 && uart_edges(machine) == 0);
	uart_out(machine, 0, 'x');
	uart_out(machine, 4, 0x08);
	CHECK(uart_edges(machine) == 1);
	machine_destroy(machine);
}

TEST(serial_input_arrives_with_one_edge_until_it_is_read)
{
	struct machine *machine = machine_create(-1);

	uart_out(machine, 2, 0x81); /* FIFO, trigger at 8 */
	uart_out(machine, 4, 0x08);
	uart_out(machine, 1, 0x01);
	CHECK(serial_receive(&machine->serial, (const uint8_t *)"abc", 3) == 3 && uart_edges(machine) == 1);
	CHECK(uart_in(machine, 2) == 0xcc && uart_in(machine, 5) == 0x61); /* fewer than 8: the timeout's interrupt */
	CHECK(serial_receive(&machine->serial, (const uint8_t *)"defgh", 5) == 5 && uart_edges(machine) == 0);
	CHECK(uart_in(machine, 2) == 0xc4);
	for (int i = 0; i < 8; i++)
		CHECK(uart_in(machine, 0) == "abcdefgh"[i]);
	CHECK(uart_in(machine, 2) == 0xc1 && uart_in(machine, 5) == 0x60);
	CHECK(serial_receive(&machine->serial, (const uint8_t *)"i", 1) == 1 && uart_edges(machine) == 1);
	machine_destroy(machine);
}

TEST(serial_takes_only_so_much_input)
{
	struct machine *machine = machine_create(-1);
	uint8_t data[5000];

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i % 251);
	CHECK(serial_receive(&machine->serial, data, 3000) == 3000);
	CHECK(serial_receive(&machine->serial, data + 3000, 2000) == 1096);
	for (int i = 0; i < 4096; i++)
		CHECK(uart_in(machine, 0) == i % 251);
	CHECK(uart_in(machine, 5) == 0x60 && serial_receive(&machine->serial, data, 5000) == 4096);
	machine_destroy(machine);
}

TEST(serial_input_is_thrown_away_on_request)
{
	struct machine *machine = machine_create(-1);

	uart_out(machine, 2, 0x01);
	serial_receive(&machine->serial, (const uint8_t *)"old", 3);
	uart_out(machine, 2, 0x01);
	CHECK(uart_in(machine, 5) == 0x61);
	uart_out(machine, 2, 0x03);
	CHECK(uart_in(machine, 5) == 0x60);
	serial_receive(&machine->serial, (const uint8_t *)"old", 3);
	uart_out(machine, 2, 0x00); /* turning the FIFO off empties it, too */
	CHECK(uart_in(machine, 5) == 0x60);
	machine_destroy(machine);
}

TEST(serial_state_goes_on_in_another_machine)
{
	struct machine *machine = machine_create(-1), *clone = machine_create(-1);
	struct serial_state state;

	uart_out(machine, 7, 0x77);
	uart_out(machine, 4, 0x08);
	uart_out(machine, 1, 0x05);
	serial_receive(&machine->serial, (const uint8_t *)"hi", 2);
	serial_save(&machine->serial, &state);
	serial_restore(&clone->serial, &state);
	CHECK(uart_in(clone, 7) == 0x77 && uart_in(clone, 2) == 0x04);
	CHECK(uart_in(clone, 0) == 'h' && uart_in(clone, 0) == 'i' && uart_in(clone, 2) == 0x01);
	machine_destroy(machine);
	machine_destroy(clone);
}

TEST(i8042_resets_and_is_no_controller_to_linux)
{
	struct machine *machine = machine_create(-1);
	uint8_t value = 0xd1;

	for (int i = 0; i < 17; i++) { /* i8042_flush() gives up after 16 */
		uint8_t status;

		i8042_ops.read(&machine->i8042, 4, &status, 1);
		CHECK((status & 0x03) == 0x01); /* and kb_wait() does not wait */
	}
	i8042_ops.write(&machine->i8042, 4, &value, 1);
	value = 0xfe;
	i8042_ops.write(&machine->i8042, 0, &value, 1);
	CHECK(machine->ended == -1);
	i8042_ops.write(&machine->i8042, 4, &value, 1);
	CHECK(machine->ended == 1);
	machine_destroy(machine);
}

TEST(pci_bus_has_a_bridge_and_the_console)
{
	struct machine *machine = machine_create(-1);

	CHECK(config_read(machine, 0, 0x0a, 2) == 0x0600);
	CHECK(config_read(machine, 1, 0x00, 4) == 0x10431af4 && config_read(machine, 1, 0x08, 4) == 0x07800001);
	for (uint32_t device = 2; device < 32; device++)
		CHECK(config_read(machine, device, 0, 4) == 0xffffffff);
	CHECK(config_read(machine, 1 | 1 << 5, 0, 4) == 0xffffffff); /* bus 1 */
	CHECK(config_read(machine, 1 | 1 << 13, 0, 4) == 0xffffffff); /* register 0x100, as AMD reaches it */
	CHECK(config_read(machine, 1, 0x0e, 1) == 0); /* one function, a plain header */
	CHECK(config_read(machine, 1, 0x3d, 1) == 0); /* no INTx */
	CHECK(config_read(machine, 1, 0x03, 1) == 0x10);
	machine_destroy(machine);
}

/* Linux's pci_check_type1(). */
TEST(pci_address_register_takes_only_dwords)
{
	struct machine *machine = machine_create(-1);
	uint32_t value = 0x80000000;
	uint8_t one = 1;

	pci_port_ops.write(&machine->pci, 3, &one, 1);
	pci_port_ops.write(&machine->pci, 0, &value, 4);
	value = 0;
	pci_port_ops.read(&machine->pci, 0, &value, 4);
	CHECK(value == 0x80000000 && machine->ended == -1);
	pci_port_ops.read(&machine->pci, 0, &value, 2);
	CHECK((value & 0xffff) == 0xffff);
	one = 0x06;
	pci_port_ops.write(&machine->pci, 1, &one, 1); /* port 0xcf9 */
	CHECK(machine->ended == 1);
	machine_destroy(machine);
}

TEST(pci_accesses_across_the_end_of_the_data_register_do_nothing)
{
	struct machine *machine = machine_create(-1);
	uint64_t value = 0x5a5a5a5a5a5a5a5aULL;

	config_read(machine, 1, 0xfc, 4);
	pci_port_ops.write(&machine->pci, 6, &value, 4);
	pci_port_ops.write(&machine->pci, 2, &value, 4);
	pci_port_ops.write(&machine->pci, 0, &value, 8);
	pci_port_ops.read(&machine->pci, 6, &value, 4);
	CHECK((value & 0xffffffff) == 0xffffffff && machine->pci.address == 0x800008fc);
	machine_destroy(machine);
}

TEST(pci_read_only_bits_stay)
{
	struct machine *machine = machine_create(-1);
	uint32_t before[64];

	for (uint32_t reg = 0; reg < 256; reg += 4)
		before[reg / 4] = config_read(machine, 1, reg, 4);
	for (uint32_t reg = 0; reg < 256; reg += 4)
		config_write(machine, 1, reg, ~before[reg / 4], 4);
	CHECK(config_read(machine, 1, 0x00, 4) == before[0]);
	CHECK(config_read(machine, 1, 0x04, 4) == (before[1] ^ 0x0546));
	CHECK(config_read(machine, 1, 0x08, 4) == before[2] && config_read(machine, 1, 0x34, 4) == before[13]);
	CHECK(config_read(machine, 1, 0x3c, 4) == (before[15] ^ 0xff));
	machine_destroy(machine);
}

TEST(pci_bar_is_sized_and_moved_and_the_doorbell_follows)
{
	struct machine *machine = machine_create(-1);

	CHECK(config_read(machine, 1, 0x10, 4) == BAR && machine->doorbell_at == 0);
	CHECK(mmio_read(machine, BAR + 0x12, 2) == 0xffff); /* decoding is off */
	config_write(machine, 1, 0x10, 0xffffffff, 4);
	CHECK(config_read(machine, 1, 0x10, 4) == 0xffffc000); /* 16 KiB, 32 bits, not prefetchable */
	CHECK(config_read(machine, 1, 0x14, 4) == 0);
	config_write(machine, 1, 0x10, 0xd0000000, 4);
	config_write(machine, 1, 0x04, 2, 2);
	CHECK(machine->doorbell_at == 0xd0002000 && mmio_read(machine, 0xd0000012, 2) == 4);
	CHECK(mmio_read(machine, BAR + 0x12, 2) == 0xffff);
	config_write(machine, 1, 0x10, 0xfebfc000, 4); /* the last place */
	CHECK(machine->doorbell_at == 0xfebfe000 && mmio_read(machine, 0xfebfc012, 2) == 4);
	config_write(machine, 1, 0x10, 0xfec00000, 4); /* the IO-APIC's */
	CHECK(machine->doorbell_at == 0);
	config_write(machine, 1, 0x10, RAM_BASE, 4);
	CHECK(machine->doorbell_at == 0);
	machine_destroy(machine);
}

struct found_capability {
	uint32_t at, offset, length, multiplier;
};

static void find_capabilities(struct machine *machine, struct found_capability *ret)
{
	uint32_t at = config_read(machine, 1, 0x34, 1), guard = 0;

	CHECK(config_read(machine, 1, 0x06, 2) & 0x10);
	for (; at; at = config_read(machine, 1, at + 1, 1)) {
		uint32_t type = config_read(machine, 1, at + 3, 1);

		CHECK(guard++ < 8 && at % 4 == 0 && at >= 0x40);
		if (config_read(machine, 1, at, 1) == 0x11) {
			ret[0] = (struct found_capability){ at, config_read(machine, 1, at + 4, 4),
							    config_read(machine, 1, at + 8, 4),
							    config_read(machine, 1, at + 2, 2) };
			continue;
		}
		CHECK(config_read(machine, 1, at, 1) == 0x09 && type >= 1 && type <= 5);
		CHECK(config_read(machine, 1, at + 2, 1) == (type == 2 || type == 5 ? 20U : 16U));
		CHECK(config_read(machine, 1, at + 4, 1) == 0);
		ret[type] = (struct found_capability){ at, config_read(machine, 1, at + 8, 4),
						       config_read(machine, 1, at + 12, 4),
						       config_read(machine, 1, at + 16, 4) };
	}
}

TEST(virtio_capabilities_name_the_parts_of_the_bar)
{
	struct machine *machine = machine_create(-1);
	struct found_capability found[6] = { 0 };

	find_capabilities(machine, found);
	CHECK(found[0].offset == TABLE && found[0].length == 0x1800 && found[0].multiplier == 4); /* five vectors */
	CHECK(found[1].offset == 0 && found[1].length == 0x38);
	CHECK(found[2].offset == NOTIFY && found[2].length == 4 && found[2].multiplier == 0);
	CHECK(found[3].offset == 0x100 && found[3].length == 1);
	CHECK(found[4].offset == 0x200 && found[4].length == 12);
	config_write(machine, 1, 4, 2, 2);
	CHECK(mmio_read(machine, BAR + 0x204, 4) == 1); /* max_nr_ports */
	machine_destroy(machine);
}

TEST(virtio_bar_can_be_reached_through_config_space)
{
	struct machine *machine = machine_create(-1);
	struct found_capability found[6] = { 0 };
	uint32_t window;

	find_capabilities(machine, found);
	window = found[5].at;
	config_write(machine, 1, window + 8, 0x12, 4); /* num_queues */
	config_write(machine, 1, window + 12, 2, 4);
	CHECK(config_read(machine, 1, window + 16, 2) == 4);
	config_write(machine, 1, window + 8, 0x14, 4); /* device_status */
	config_write(machine, 1, window + 12, 1, 4);
	config_write(machine, 1, window + 16, 3, 1);
	CHECK(config_read(machine, 1, window + 16, 1) == 3 && machine->console.virtio.common.registers.status == 3);
	config_write(machine, 1, window + 8, 0xfffffffc, 4);
	config_write(machine, 1, window + 12, 4, 4);
	config_write(machine, 1, window + 16, 0, 4);
	config_write(machine, 1, window + 8, 0x14, 4);
	config_write(machine, 1, window + 12, 0, 4);
	config_write(machine, 1, window + 16, 0, 4);
	CHECK(machine->console.virtio.common.registers.status == 3);
	machine_destroy(machine);
}
