//! scratch, not committed
mod common;
use common::{
    exported::{TABLES, settings},
    fixture,
    kernel::*,
};
use std::time::Instant;
use twtrace::{event::*, export::*, frame::Frame};
use twtrace_common::{
    End,
    TcpState::{self, *},
};

fn records(kernel: &mut PaperKernel, round: usize, seed: &mut u64) -> Frame {
    for number in 0..500usize {
        *seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let r = *seed >> 33;
        let client = Task::new(1_000 + (number % 7) as u32, 1, b"client");
        let server = Task::new(200 + (number % 3) as u32, 1, b"nginx");
        let sk = 0xffff_8880_0000_0000 + ((r % 5000) << 12) + (number as u64) * 0x1000 * 5000;
        let ss = sk + 0x10000000000;
        let t0 = STARTED_NS + (round as u64 * 500 + number as u64) * 54_000 + r % 10_000;
        let t = fixture::tuple(
            &format!("10.0.0.1:{}", 32768 + (r % 28000)),
            &format!("10.1.0.{}:80", number % 250),
        );
        let rt = Tuple { laddr: t.raddr, raddr: t.laddr, lport: t.rport, rport: t.lport };
        let mut go = |k: &mut PaperKernel,
                      dt: u64,
                      sk,
                      old: TcpState,
                      new: TcpState,
                      tuple,
                      task: Option<Task>| {
            k.transition(&Seen {
                time_ns: t0 + dt,
                sk,
                netns: NETNS,
                old,
                new,
                tuple,
                locked: task.is_some(),
                error: 0,
                shutdown: 3,
                own_range: None,
                current: task,
                ring_full: false,
            })
        };
        go(kernel, 0, sk, Close, SynSent, Tuple { lport: 0, ..t }, Some(client));
        kernel.connect(
            &ConnectEvent { time_ns: t0 + 2100 + r % 800, sk, lport: t.lport },
            Fate::Written,
        );
        go(kernel, 9000, sk, SynSent, Established, t, None);
        go(kernel, 9500, ss, SynRecv, Established, rt, None);
        go(kernel, 20000, sk, Established, FinWait1, t, Some(client));
        go(kernel, 21000, ss, Established, CloseWait, rt, None);
        go(kernel, 22000, sk, FinWait1, FinWait2, t, None);
        go(kernel, 30000, ss, CloseWait, LastAck, rt, Some(server));
        let mini = MiniEvent {
            time_ns: t0 + 31000,
            tw: sk + 0x20000000000,
            netns: NETNS,
            substate: TimeWait,
            tuple: t,
            timestamps: Some(true),
        };
        kernel.birth(&mini, Fate::Written);
        go(kernel, 31100, sk, FinWait2, Close, t, None);
        go(kernel, 31500, ss, LastAck, Close, rt, None);
        kernel.end(
            &MiniEvent { time_ns: t0 + 60_000_000_000, ..mini },
            End::Expired,
            Fate::Written,
        );
    }
    kernel.records()
}

#[test]
fn speed() {
    let mut kernel = PaperKernel::new(TP_BTF);
    let mut seed = 1;
    let mut frames = vec![tick(0.0)];
    let mut bytes = 0;
    for round in 0..170 {
        let f = records(&mut kernel, round, &mut seed);
        if let Frame::Records(b) = &f {
            bytes += b.len();
        }
        frames.push(f);
        frames.push(tick(0.027 * (round + 1) as f64));
    }
    println!("raw {bytes} bytes");
    for rows in [Rows::Events, Rows::Connections] {
        for format in TABLES.into_iter().chain([Format::Perfetto]) {
            let path = format!("/tmp/speed.{rows:?}.{format:?}");
            let out = std::io::BufWriter::new(std::fs::File::create(&path).unwrap());
            let start = Instant::now();
            let mut e = Exporter::new(&meta(TP_BTF), settings(format, rows), out).unwrap();
            for f in &frames {
                e.frame(f).unwrap();
            }
            let s = e.finish().unwrap();
            let t = start.elapsed().as_secs_f64();
            let len = std::fs::metadata(&path).unwrap().len();
            println!(
                "{rows:?} {format:?}: {} rows {:.2}s {:.0} rows/s {:.1} B/row ({} bytes)",
                s.rows,
                t,
                s.rows as f64 / t,
                len as f64 / s.rows as f64,
                len
            );
        }
    }
}
