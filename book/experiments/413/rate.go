// What golang.org/x/time/rate does where this lab had to decide.
package main

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/time/rate"
)

func main() {
	ctx := context.Background()
	start := time.Now()
	at := func(reservation *rate.Reservation) string {
		return fmt.Sprintf("%.1f s", reservation.DelayFrom(start).Seconds())
	}

	limiter := rate.NewLimiter(100, 100)
	fmt.Println("three times ReserveN(100) at 100 a second:",
		at(limiter.ReserveN(start, 100)), at(limiter.ReserveN(start, 100)),
		at(limiter.ReserveN(start, 100)))

	fmt.Println("WaitN(101) with a burst of 100:", limiter.WaitN(ctx, 101))
	fmt.Println("ReserveN(101).OK():", limiter.ReserveN(start, 101).OK())

	limiter = rate.NewLimiter(100, 100)
	limiter.AllowN(start, 100)
	last := limiter.ReserveN(start, 100)
	last.CancelAt(start)
	fmt.Println("tokens after ReserveN(100) and Cancel:",
		limiter.TokensAt(start))
	first := limiter.ReserveN(start, 100)
	limiter.ReserveN(start, 100)
	first.CancelAt(start)
	fmt.Println("after two, of which the first is cancelled:",
		limiter.TokensAt(start))

	limiter = rate.NewLimiter(7, 500_000)
	limiter.AllowN(start, 500_000)
	now := start
	for i := 0; i < 250_000; i++ {
		now = now.Add(120 * time.Millisecond)
		limiter.AllowN(now, 0)
	}
	fmt.Printf("7 a second for 30,000 s, in 250,000 steps: %.8f\n",
		limiter.TokensAt(now))
}
